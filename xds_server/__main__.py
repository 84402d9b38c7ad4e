"""`python -m xds_server`."""

from xds_server.cli.main import main

if __name__ == "__main__":
    main()
