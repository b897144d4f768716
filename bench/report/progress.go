// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/millrace-ml/millrace/bench/loadgen"
)

// ProgressLine returns a progress function that keeps one line of a terminal up to
// date, and clears it at the end.
func ProgressLine(terminal io.Writer) func(loadgen.Progress) {
	var bar *progressbar.ProgressBar
	return func(p loadgen.Progress) {
		if bar == nil {
			bar = progressbar.NewOptions64(p.Total.Milliseconds(),
				progressbar.OptionSetWriter(terminal),
				progressbar.OptionSetWidth(30),
				progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionSetPredictTime(false),
				progressbar.OptionSetElapsedTime(false),
				progressbar.OptionClearOnFinish())
		}
		bar.Describe(progressText(p))
		_ = bar.Set64(p.Elapsed.Milliseconds()) // a terminal that is gone is no reason to stop
	}
}

func progressText(p loadgen.Progress) string {
	if p.Warmup {
		return "warming up"
	}
	text := fmt.Sprintf("%d answers", p.Requests)
	if p.Errors > 0 {
		text += fmt.Sprintf(", %d errors", p.Errors)
	}
	return text
}
