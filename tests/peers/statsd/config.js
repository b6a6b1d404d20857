{
  // Text, because statsd takes the number 0 for "not given". The system chooses the ports; server.js says which.
  servers: [
    { server: "./servers/udp", address: "127.0.0.1", port: "0" },
    { server: "./servers/tcp", address: "127.0.0.1", port: "0" },
  ],
  mgmt_address: "127.0.0.1",
  mgmt_port: "0",
  backends: [process.cwd() + "/server.js"],
  flushInterval: 50,
  deleteCounters: true,
  deleteTimers: true,
  deleteSets: true,
  automaticConfigReload: false,
  title: false,
}
