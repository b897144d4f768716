// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"github.com/millrace-ml/millrace/bench/models"
	"github.com/millrace-ml/millrace/bench/report"
)

// serveSuite compares the server with its peers.
var serveSuite = suite{name: "serve", scenarios: serveScenarios, models: models.Write}

// serveScenarios are the rows of the serve suite, in the order of its table.
var serveScenarios = []scenario{
	{
		name: "unary",
		rows: []promise{{"unary, small MLP, 32 in flight: requests/s over the bare echo's", report.AtLeast(0.75)}},
		run:  unaryOverEcho,
	},
	{
		name: "stream",
		rows: []promise{{"stream, small MLP, 4 streams of 64: requests/s over the bare echo's", report.AtLeast(0.5)}},
		run:  streamOverEcho,
	},
	{
		name: "throughput",
		rows: []promise{{"middle MLP, 64 in flight of 64 rows: rows/s over direct runs at their best batch", report.AtLeast(0.85)}},
		run:  rowsOverDirect,
	},
	{
		name: "lone",
		rows: []promise{{"lone request, middle MLP: (median latency - direct run) over the echo's median latency", report.AtMost(1.3)}},
		run:  loneOverEcho,
	},
	{
		name: "open-loop",
		rows: []promise{{"open loop, small MLP, Poisson at 70 % of capacity: p99 over p50", report.AtMost(4)}},
		run:  openLoopTail,
	},
	{
		name: "allocations",
		rows: []promise{{"heap allocations per steady unary request, codec to response", report.AtMost(3)}},
		run:  requestAllocations,
	},
	{
		name: "histograms",
		rows: []promise{{"throughput with latency histograms on over off", report.AtLeast(0.98)}},
		run:  histogramsOverNone,
	},
	{
		name: "swap",
		rows: []promise{
			{"hot swap, middle MLP, 70 % of capacity: failed requests", report.AtMost(0)},
			{"hot swap, middle MLP, 70 % of capacity: p99 during swaps over p99 before", report.AtMost(1.5)},
		},
		run: swapUnderLoad,
	},
	{
		name: "memory",
		rows: []promise{{"resident memory after 200 load/unload cycles over after 20", report.AtMost(1.1)}},
		run:  memoryAfterCycles,
	},
	{
		name: "start",
		rows: []promise{{"start to ready, demo repository", report.AtMost(1).In("s")}},
		run:  startToReady,
	},
}
