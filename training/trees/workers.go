// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// blockRows is how many rows are a piece of work. It is the same for any number of
// goroutines, so that sums by block are too.
const blockRows = 8192

func blocksOf(rows int) int { return (rows + blockRows - 1) / blockRows }

func block(b, rows int) (lo, hi int) { return b * blockRows, min((b+1)*blockRows, rows) }

// workersMax bounds the goroutines of a call.
const workersMax = 256

func workersOf(asked int) int {
	if asked <= 0 {
		asked = runtime.GOMAXPROCS(0)
	}
	return min(asked, workersMax)
}

// parallel calls do for each task from 0 to tasks-1, in any order, on up to workers
// goroutines, of which it is one.
func parallel(workers, tasks int, do func(task int)) {
	if workers = min(workers, tasks); workers <= 1 {
		for task := range tasks {
			do(task)
		}
		return
	}
	var next atomic.Int64
	work := func() {
		for {
			task := int(next.Add(1)) - 1
			if task >= tasks {
				return
			}
			do(task)
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
