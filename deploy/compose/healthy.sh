# The health check of an Envoy: it is live and took its listeners from the control plane at least once. It stays healthy
# when the control plane goes away. The image has neither curl nor Python; bash can speak TCP.
ask() {
  exec 3<>/dev/tcp/127.0.0.1/9901 || exit 1
  printf 'GET %s HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n' "$1" >&3
  cat <&3
  exec 3>&-
}
ask /ready | grep -q '^LIVE' || exit 1
ask '/stats?filter=^listener_manager.lds.update_success$' | grep -q 'update_success: [1-9]' || exit 1
