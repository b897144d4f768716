// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metric numbers the metrics that each Model has.
type metric int

const (
	metricSuccess metric = iota
	metricFailure
	metricRows
	metricRuns
	metricRequestMicros
	metricQueueMicros
	metricInputMicros
	metricInferMicros
	metricOutputMicros
	metricRequestHistogram
	metricQueueHistogram
	metricInputHistogram
	metricInferHistogram
	metricOutputHistogram
	metricFirstResponseHistogram
	metricPending
	metricLoadSeconds
	metricDispatches
	metricDispatchedRows
	metricBatchRows
	metricRejections
	metricCount
)

// families are the names, meanings and own labels of the metrics. The names that
// begin with nv_ are Triton's, for which dashboards and autoscalers exist; hence
// the counters without _total.
var families = [metricCount]struct{ name, help, label string }{
	metricSuccess:                {"nv_inference_request_success", "Number of successful inference requests", ""},
	metricFailure:                {"nv_inference_request_failure", "Number of failed inference requests", "reason"},
	metricRows:                   {"nv_inference_count", "Number of rows inferred", ""},
	metricRuns:                   {"nv_inference_exec_count", "Number of model runs", ""},
	metricRequestMicros:          {"nv_inference_request_duration_us", "Cumulative duration of successful requests in microseconds", ""},
	metricQueueMicros:            {"nv_inference_queue_duration_us", "Cumulative time of requests in the queue in microseconds", ""},
	metricInputMicros:            {"nv_inference_compute_input_duration_us", "Cumulative time of requests in input assembly in microseconds", ""},
	metricInferMicros:            {"nv_inference_compute_infer_duration_us", "Cumulative time of requests in the model in microseconds", ""},
	metricOutputMicros:           {"nv_inference_compute_output_duration_us", "Cumulative time of requests in output extraction in microseconds", ""},
	metricRequestHistogram:       {"nv_inference_request_duration_histogram_us", "Duration of successful requests in microseconds", ""},
	metricQueueHistogram:         {"nv_inference_queue_duration_histogram_us", "Time of requests in the queue in microseconds", ""},
	metricInputHistogram:         {"nv_inference_compute_input_duration_histogram_us", "Time of requests in input assembly in microseconds", ""},
	metricInferHistogram:         {"nv_inference_compute_infer_duration_histogram_us", "Time of requests in the model in microseconds", ""},
	metricOutputHistogram:        {"nv_inference_compute_output_duration_histogram_us", "Time of requests in output extraction in microseconds", ""},
	metricFirstResponseHistogram: {"nv_inference_first_response_histogram_ms", "Time from request to first response of decoupled models in milliseconds", ""},
	metricPending:                {"nv_inference_pending_request_count", "Number of requests waiting for execution", ""},
	metricLoadSeconds:            {"nv_model_load_duration_secs", "Time the model took to load in seconds", ""},
	metricDispatches:             {"millrace_batch_dispatch_total", "Number of batches by why they were dispatched", "reason"},
	metricDispatchedRows:         {"millrace_batch_dispatch_rows_total", "Number of rows by why their batch was dispatched", "reason"},
	metricBatchRows:              {"millrace_batch_rows", "Rows per model run", ""},
	metricRejections:             {"millrace_queue_rejected_total", "Number of requests that left the queue without running", "cause"},
}

// newDescs describes the metrics of one version.
func newDescs(id ID) (descs [metricCount]*prometheus.Desc) {
	labels := constLabels(id)
	for i, f := range families {
		var own []string
		if f.label != "" {
			own = []string{f.label}
		}
		descs[i] = prometheus.NewDesc(f.name, f.help, own, labels)
	}
	return descs
}
