// Runs the original statsd server on ports of the system's choice and says on standard output, one JSON object a line,
// first which ports, then what each flush would have sent to Graphite. Ends when standard input does.
//
//     node server.js config.js

"use strict";

const util = require("util");

// The server's own log. Node 23 no longer has the function, and standard output is for the objects.
util.log = (...words) => console.error(...words);

function say(object) {
  process.stdout.write(JSON.stringify(object) + "\n");
}

// statsd loads this file again as its back end.
exports.init = (startup, config, events) => {
  const udp = require("statsd/servers/udp").server;
  const tcp = require("statsd/servers/tcp").server;
  const listening = (server) => new Promise((resolve) => server.once("listening", resolve));
  Promise.all([listening(udp), listening(tcp)]).then(() => {
    say({ udp: udp.address().port, tcp: tcp.address().port });
  });

  events.on("flush", (timestamp, { counters, timers, timer_counters, gauges, sets }) => {
    const members = Object.entries(sets).map(([name, set]) => [name, set.values()]);
    say({ counters, timers, timer_counters, gauges, sets: Object.fromEntries(members) });
  });
  return true;
};

process.stdin.on("end", () => process.exit()).resume();

require("statsd/stats.js");
