// SPDX-License-Identifier: Apache-2.0

// Command beside measures kernels of other libraries beside ours, for information: no
// target hangs on it. It is a module of its own, so that what it compares with is no
// dependency of the product.
//
//	beside products      f32 and 8-bit products: gonum, and with the build tag beside
//	                     OpenBLAS and oneDNN
//	beside trees FOLDER  our trees, and the same trees as files for trees.py, which
//	                     measures LightGBM and XGBoost on them
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/millrace-ml/millrace/bench/kernels/turns"
)

// pace takes the time of all threads, since gonum works in goroutines of its own.
var pace = turns.Pace{Rounds: 9, Turn: 20 * time.Millisecond, AllThreads: true}

func main() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "beside:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "products":
		return products(ctx, os.Stdout)
	case len(args) == 2 && args[0] == "trees":
		return forests(ctx, os.Stdout, args[1])
	default:
		return errors.New("usage: beside products | beside trees FOLDER")
	}
}
