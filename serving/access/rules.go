// SPDX-License-Identifier: Apache-2.0

package access

import (
	"maps"
	"slices"
	"strings"
)

// Need is what a call needs.
type Need uint8

const (
	// Change is what changes what is served, and whatever is not listed: an operator.
	Change Need = iota
	// Feedback adds outcomes, and Pushes adds events: a client or an operator, unless the
	// server says that they are open.
	Feedback
	Pushes
	// Open needs nothing.
	Open
	// Own is asked for by who serves the call: the console by its sessions, labelling by role.
	Own
)

var needNames = [...]string{"change", "feedback", "pushes", "open", "own"}

func (n Need) String() string { return needNames[n] }

// doing says what a call does that needs a token, in a refusal.
var doing = [...]string{Change: "changes what is served", Feedback: "adds feedback that is learnt from", Pushes: "adds events that are learnt from"}

// allows says whether a role is enough.
func (n Need) allows(r Role) bool {
	return r == Operator || r == Client && (n == Feedback || n == Pushes)
}

// who says in words which roles are enough.
func (n Need) who() string {
	if n == Change {
		return "an operator"
	}
	return "a client or an operator"
}

const (
	inferencePath = "/inference.GRPCInferenceService/"
	adminPath     = "/millrace.v1.Admin/"
	featuresPath  = "/millrace.v1.Features/"
	decisionsPath = "/millrace.v1.Decisions/"
	feedbackPath  = "/millrace.v1.Feedback/"
	healthPath    = "/grpc.health.v1.Health/"
	rolloutPath   = "/v1/decisions/{decision}/rollout"
	modelPath     = "/v2/models/{model}"
	versionPath   = "/v2/models/{model}/versions/{version}"
)

// rules lists every call of a server: gRPC methods by their full names, HTTP routes by their
// patterns. docs/reference/access.md describes it; tests hold both to what there is.
var rules = map[string]Need{
	// What changes what is served.
	inferencePath + "RepositoryModelLoad":       Change,
	inferencePath + "RepositoryModelUnload":     Change,
	adminPath + "LoadVersion":                   Change,
	adminPath + "UnloadVersion":                 Change,
	adminPath + "SwapVersion":                   Change,
	adminPath + "Rollback":                      Change,
	adminPath + "SetAlias":                      Change,
	"POST /v2/repository/models/{model}/load":   Change,
	"POST /v2/repository/models/{model}/unload": Change,
	"POST " + rolloutPath:                       Change,
	"DELETE " + rolloutPath:                     Change,

	// What adds data that is learnt from.
	feedbackPath + "SubmitFeedback": Feedback,
	feedbackPath + "StreamFeedback": Feedback,
	"POST /v1/feedback":             Feedback,
	"POST /seldon/feedback":         Feedback,
	featuresPath + "Push":           Pushes,
	featuresPath + "StreamPush":     Pushes,

	// What predicts and decides.
	inferencePath + "ModelInfer":       Open,
	inferencePath + "ModelStreamInfer": Open,
	"POST " + modelPath + "/infer":     Open,
	"POST " + versionPath + "/infer":   Open,
	decisionsPath + "Decide":           Open,
	decisionsPath + "StreamDecide":     Open,
	"POST /v1/decisions/{decision}":    Open,

	// What reads.
	inferencePath + "ServerMetadata":  Open,
	inferencePath + "ModelMetadata":   Open,
	inferencePath + "ModelConfig":     Open,
	inferencePath + "ModelStatistics": Open,
	inferencePath + "RepositoryIndex": Open,
	adminPath + "ListAliases":         Open,
	adminPath + "ListModels":          Open,
	adminPath + "ExplainBatching":     Open,
	"GET /v2":                         Open,
	"GET /v2/models/stats":            Open,
	"GET " + modelPath:                Open,
	"GET " + modelPath + "/config":    Open,
	"GET " + modelPath + "/stats":     Open,
	"GET " + versionPath:              Open,
	"GET " + versionPath + "/config":  Open,
	"GET " + versionPath + "/stats":   Open,
	"POST /v2/repository/index":       Open,
	decisionsPath + "ListDecisions":   Open,
	"GET /v1/decisions":               Open,
	"GET " + rolloutPath:              Open,
	featuresPath + "Get":              Open,
	featuresPath + "StreamGet":        Open,
	featuresPath + "ListFeatures":     Open,
	"POST /get-online-features":       Open,
	feedbackPath + "GetOutcome":       Open,
	"GET /v1/feedback":                Open,

	// Health, metrics, profiles, and what describes the services.
	inferencePath + "ServerLive":                                     Open,
	inferencePath + "ServerReady":                                    Open,
	inferencePath + "ModelReady":                                     Open,
	"GET /v2/health/live":                                            Open,
	"GET /v2/health/ready":                                           Open,
	"GET " + modelPath + "/ready":                                    Open,
	"GET " + versionPath + "/ready":                                  Open,
	healthPath + "Check":                                             Open,
	healthPath + "List":                                              Open,
	healthPath + "Watch":                                             Open,
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      Open,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Open,
	"GET /metrics":                                                   Open,
	"GET /debug/pprof/":                                              Open,
	"GET /debug/pprof/cmdline":                                       Open,
	"GET /debug/pprof/profile":                                       Open,
	"GET /debug/pprof/symbol":                                        Open,
	"GET /debug/pprof/trace":                                         Open,
}

// ownPaths begin the paths of routes whose server asks who calls.
var ownPaths = []string{"/console/", "/v1/labeling/", "/labelstudio/"}

// rule is what a call needs; listed is false for one that nobody thought of.
func rule(call string) (need Need, listed bool) {
	if need, listed = rules[call]; listed {
		return need, true
	}
	_, path, _ := strings.Cut(call, " ")
	if path == "" { // a pattern for all methods
		path = call
	}
	for _, own := range ownPaths {
		if path == "/{$}" || strings.HasPrefix(path, own) {
			return Own, true
		}
	}
	return Change, false
}

// Listed are the names of all calls in the table, sorted.
func Listed() []string { return slices.Sorted(maps.Keys(rules)) }
