// SPDX-License-Identifier: Apache-2.0

package definition

// vocabulary has the keys that each kind of mapping may have. docs/reference/features.md
// describes every one of them.
var vocabulary = map[string][]string{
	"entity": {"key", "type", "description"},
	"source": {"push", "id", "timestamp", "arrival", "future_max", "fields", "inputs", "description"},
	"field":  {"type", "required", "min", "max", "values", "late", "known_after", "description"},
	"input":  {"format", "path", "url", "query", "columns", "description"},
	"view": {"entity", "entities", "keys", "source", "filter", "windows", "hop", "delay", "max_age", "lateness_max",
		"duplicate_horizon", "head_events_max", "entries_max", "bytes_max", "features", "description"},
	"view feature": {"function", "field", "expression", "filter", "window", "windows", "hop", "delay", "k", "quantile",
		"half_life", "exact_max", "default", "description"},
	"lookup":          {"entity", "entities", "keys", "source", "fields", "ttl", "description"},
	"service":         {"model", "description", "entities", "request", "time", "features"},
	"request field":   {"type", "required", "min", "max", "values", "description"},
	"service feature": {"name", "from", "expression", "type", "default", "description"},
}
