"""The operations of every service as facts, one TOML file per service; the gateway's router is built from them."""
