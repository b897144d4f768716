// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"encoding/json"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/proto/inference"
)

// The REST form of the inference protocol: routes, answers and errors.

// restAnswer is the answer to a REST call. The zero value is status 200 and no body.
type restAnswer struct {
	status int
	body   []byte // JSON
}

// restEndpoint answers a call. It reads the body through Server.readBody only.
type restEndpoint func(http.ResponseWriter, *http.Request) (restAnswer, error)

// restHandler serves the REST form of the inference protocol.
func (s *Server) restHandler() http.Handler {
	mux := http.NewServeMux()
	guarded := s.access.HTTP(mux)
	handle := func(pattern string, endpoint restEndpoint) {
		guarded.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			answer, err := endpoint(w, q)
			if err != nil {
				answer = errorAnswer(err)
			}
			answer.write(w, q)
		}))
	}
	handle("GET /v2/health/live", func(http.ResponseWriter, *http.Request) (restAnswer, error) { return readyAnswer(true), nil })
	handle("GET /v2/health/ready", func(http.ResponseWriter, *http.Request) (restAnswer, error) { return readyAnswer(s.isReady()), nil })
	handle("GET /v2", func(http.ResponseWriter, *http.Request) (restAnswer, error) { return messageAnswer(s.serverMetadata()) })
	handle("GET /v2/models/stats", s.restStatistics)
	for _, model := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		handle("GET "+model, s.restMetadata)
		handle("GET "+model+"/ready", s.restModelReady)
		handle("GET "+model+"/config", s.restConfig)
		handle("GET "+model+"/stats", s.restStatistics)
		handle("POST "+model+"/infer", s.restInfer)
	}
	handle("POST /v2/repository/index", s.restIndex)
	handle("POST /v2/repository/models/{model}/load", s.restLoad)
	handle("POST /v2/repository/models/{model}/unload", s.restUnload)
	if s.options.Routes != nil {
		s.options.Routes(guarded)
	}
	return boundBodies(explainMisses(mux), int64(s.limits.MessageBytesMax))
}

// explainMisses answers calls that no route takes as all other errors are answered.
func explainMisses(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		miss, pattern := mux.Handler(q)
		if pattern != "" {
			mux.ServeHTTP(w, q)
			return
		}
		var verdict missRecorder
		verdict.header = w.Header() // a wrong method is told which ones are right
		miss.ServeHTTP(&verdict, q)
		answer := errorAnswer(&Error{codes.NotFound, "no such endpoint: " + q.Method + " " + q.URL.Path})
		answer.status = verdict.status
		if allowed := w.Header().Get("Allow"); allowed != "" {
			answer = errorAnswer(invalidArgument("%s takes the methods %s, not %s", q.URL.Path, allowed, q.Method))
			answer.status = verdict.status
		}
		answer.write(w, q)
	})
}

// missRecorder takes the header and the status of an answer and drops its text.
type missRecorder struct {
	header http.Header
	status int
}

func (m *missRecorder) Header() http.Header         { return m.header }
func (m *missRecorder) WriteHeader(status int)      { m.status = status }
func (m *missRecorder) Write(b []byte) (int, error) { return len(b), nil }

// write sends the answer, compressed where the client takes that and it pays.
func (a restAnswer) write(w http.ResponseWriter, q *http.Request) {
	if len(a.body) > 0 {
		w.Header().Set("Content-Type", "application/json")
		a.body = compressBody(w.Header(), q.Header.Get("Accept-Encoding"), a.body)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	w.Write(a.body) // an error means that the client has gone
}

// errorAnswer is {"error": "..."} with the status of the error's code.
func errorAnswer(err error) restAnswer {
	e := toError(err)
	body, _ := json.Marshal(map[string]string{"error": e.Text}) // strings always marshal
	return restAnswer{status: httpStatus(e.Code), body: body}
}

// readyAnswer answers a probe by its status alone.
func readyAnswer(ready bool) restAnswer {
	if !ready {
		return restAnswer{status: http.StatusBadRequest}
	}
	return restAnswer{}
}

func jsonAnswer(v any) (restAnswer, error) {
	body, err := json.Marshal(v)
	return restAnswer{body: body}, err
}

// messageJSON writes zero values and empty lists, but leaves out parts of a message
// that are not set, as other servers of the protocol do.
var messageJSON = protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}

// messageAnswer is a message of the gRPC protocol in its JSON form, with 64-bit
// integers as numbers, as the REST protocol has them.
func messageAnswer(m proto.Message) (restAnswer, error) {
	body, err := messageJSON.Marshal(m)
	if err != nil {
		return restAnswer{}, err
	}
	var plain any
	if err := json.Unmarshal(body, &plain); err != nil {
		return restAnswer{}, err
	}
	return jsonAnswer(numbersOf(m.ProtoReflect(), plain))
}

func (s *Server) restMetadata(_ http.ResponseWriter, q *http.Request) (restAnswer, error) {
	m, err := s.modelMetadata(q.PathValue("model"), q.PathValue("version"))
	if err != nil {
		return restAnswer{}, err
	}
	return messageAnswer(m)
}

func (s *Server) restModelReady(_ http.ResponseWriter, q *http.Request) (restAnswer, error) {
	ready, err := s.modelReady(q.PathValue("model"), q.PathValue("version"))
	return readyAnswer(ready), err
}

func (s *Server) restConfig(_ http.ResponseWriter, q *http.Request) (restAnswer, error) {
	config, err := s.modelConfig(q.PathValue("model"), q.PathValue("version"))
	if err != nil {
		return restAnswer{}, err
	}
	answer := &inference.ModelConfig{}
	if err := protojson.Unmarshal(config, answer); err != nil {
		return restAnswer{}, err
	}
	return messageAnswer(answer)
}

func (s *Server) restStatistics(_ http.ResponseWriter, q *http.Request) (restAnswer, error) {
	m, err := s.modelStatistics(q.PathValue("model"), q.PathValue("version"))
	if err != nil {
		return restAnswer{}, err
	}
	return messageAnswer(m)
}
