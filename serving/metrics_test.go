// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"net/http"
	"strings"
	"testing"
)

// TestMetrics: the names that dashboards know, with their labels, once per version.
func TestMetrics(t *testing.T) {
	for _, histograms := range []bool{true, false} {
		ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig + `metric_tags { key: "team" value: "fraud" }`}, func(o *Options) { o.LatencyHistograms = histograms })
		if _, err := ts.inference.ModelInfer(testContext(t), identityRequest("echo", 1, 2, 3, 4)); err != nil {
			t.Fatal(err)
		}
		if _, err := ts.inference.ModelInfer(testContext(t), identityRequest("echo")); err == nil {
			t.Fatal("no rows are accepted")
		}
		text := getBody(t, ts.metrics+"/metrics")
		const labels = `model="echo",team="fraud",version="1"}`
		for _, line := range []string{
			`nv_inference_request_success{` + labels + " 1\n",
			`nv_inference_count{` + labels + " 2\n",
			`nv_inference_exec_count{` + labels + " 1\n",
			`nv_inference_request_failure{model="echo",reason="OTHER",team="fraud",version="1"} 1` + "\n",
			`nv_inference_request_failure{model="echo",reason="REJECTED",team="fraud",version="1"} 0` + "\n",
			`nv_inference_request_failure{model="echo",reason="CANCELED",team="fraud",version="1"} 0` + "\n",
			`nv_inference_request_failure{model="echo",reason="BACKEND",team="fraud",version="1"} 0` + "\n",
			`nv_inference_request_duration_us{` + labels, `nv_inference_queue_duration_us{` + labels,
			`nv_inference_compute_input_duration_us{` + labels, `nv_inference_compute_infer_duration_us{` + labels, `nv_inference_compute_output_duration_us{` + labels,
			`nv_inference_pending_request_count{` + labels + " 0\n", `nv_model_load_duration_secs{` + labels,
			`millrace_batch_dispatch_total{model="echo",reason="`,
			"go_goroutines ", "process_resident_memory_bytes ",
		} {
			if !strings.Contains(text, line) {
				t.Errorf("no line with %q", line)
			}
		}
		for _, phase := range []string{"request", "queue", "compute_input", "compute_infer", "compute_output"} {
			line := "nv_inference_" + phase + `_duration_histogram_us_count{` + labels + " 1\n"
			if strings.Contains(text, line) != histograms {
				t.Errorf("histograms %t: %q", histograms, line)
			}
		}
		if profile := getBody(t, ts.metrics+"/debug/pprof/goroutine?debug=1"); !strings.HasPrefix(profile, "goroutine profile: total ") {
			t.Errorf("profile: %.80s", profile)
		}
		http.DefaultClient.CloseIdleConnections()
		ts.conn.Close()
		if err := ts.stop(); err != nil {
			t.Error(err)
		}
	}
}
