"""A small system on loopback: this server, real Envoys, and upstreams that answer. `xds-server demo` shows it live;
the end-to-end tests run on the same parts."""
