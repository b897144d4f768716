// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/millrace-ml/millrace/serving/access"
)

// accessTokens are one of each role, as a project has them.
const accessTokens = `
console:
  tokens:
    shop: {role: client, token: client-0123456789ab}
    wall: {role: viewer, token: viewer-0123456789ab}
    ben: {role: labeller, token: labeller-0123456789ab}
    anna: {role: operator, token: operator-0123456789ab}
`

// accessRoles are the roles that a call may be made by: the empty one gives no token, and
// the stranger's is none of the project's.
var accessRoles = []string{"", "stranger", "client", "viewer", "labeller", "operator"}

// enough says which roles a need is met by.
func enough(need access.Need, role string) bool {
	switch need {
	case access.Change:
		return role == "operator"
	case access.Feedback, access.Pushes:
		return role == "operator" || role == "client"
	}
	return true
}

// accessWorld is a project with everything, of which each call is known.
type accessWorld struct {
	t         *testing.T
	calls     []access.Call
	addresses map[string]string
	conn      *grpc.ClientConn
}

func newAccessWorld(t *testing.T) *accessWorld {
	t.Helper()
	dir := copyExample(t, "generate: {path: .millrace/payments.parquet, days: 90, customers: 2000, seed: 1}", "materialize: false"+accessTokens)
	o := &upOptions{folder: dir}
	flags := pflag.NewFlagSet("up", pflag.ContinueOnError)
	o.addFlags(flags)
	if err := flags.Parse([]string{"--replay=false", "--http-port=0", "--grpc-port=0", "--metrics-port=0"}); err != nil {
		t.Fatal(err)
	}
	p, err := loadProject(dir)
	if err == nil {
		err = o.override(p)
	}
	if err != nil {
		t.Fatal(err)
	}
	reader, writer := io.Pipe()
	u := &up{options: o, project: p, log: slog.New(slog.NewJSONHandler(writer, nil)), out: io.Discard}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { // ends when the test does
		ended <- u.run(ctx)
		writer.Close()
	}()
	w := &accessWorld{t: t, addresses: map[string]string{}}
	ready := false
	for lines := bufio.NewScanner(reader); !ready && lines.Scan(); {
		var line struct{ Msg, Face, Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Msg == "listening" {
			w.addresses[line.Face] = line.Address
		}
		ready = line.Msg == "ready"
	}
	go io.Copy(io.Discard, reader) // ends when the server does
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if !ready {
		t.Fatal("the server ended before it was ready")
	}
	w.calls = u.guard.Calls()
	if w.conn, err = grpc.NewClient(w.addresses["grpc"], grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.conn.Close() })
	return w
}

// TestAccessOfEveryCall walks over all that a project serves: each route and each RPC is in
// the table, and is open or refuses who may not call it. A new one that nobody thought of
// fails here.
func TestAccessOfEveryCall(t *testing.T) {
	w := newAccessWorld(t)
	for _, c := range w.calls {
		if !c.Listed {
			t.Errorf("%s is in no list: say in serving/access/rules.go what it needs", c.Name)
		}
	}
	registered := map[string]access.Need{}
	for _, c := range w.calls {
		registered[c.Name] = c.Need
	}
	for _, name := range access.Listed() {
		if _, ok := registered[name]; !ok {
			t.Errorf("serving/access/rules.go lists %s, which there is not", name)
		}
	}
	rpcs := w.methods()
	if len(rpcs) < 30 {
		t.Errorf("reflection tells of %d RPCs only", len(rpcs))
	}
	for name, desc := range rpcs { // also what was registered past the guard
		need, ok := registered[name]
		if !ok {
			t.Errorf("%s is served without having passed the guard", name)
			continue
		}
		w.checkRPC(name, need, desc)
	}
	routes := 0
	for _, c := range w.calls {
		if _, ok := rpcs[c.Name]; !ok {
			routes++
			w.checkRoute(c)
		}
	}
	if routes < 60 {
		t.Errorf("%d routes are known only", routes)
	}
}

// methods are the RPCs that the server describes, by full name.
func (w *accessWorld) methods() map[string]*grpc.StreamDesc {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	stream, err := reflectionv1.NewServerReflectionClient(w.conn).ServerReflectionInfo(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	ask := func(q *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		if err := stream.Send(q); err != nil {
			w.t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			w.t.Fatal(err)
		}
		return answer
	}
	all := map[string]*grpc.StreamDesc{}
	services := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	for _, s := range services.GetListServicesResponse().GetService() {
		files := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: s.Name}})
		for _, text := range files.GetFileDescriptorResponse().GetFileDescriptorProto() {
			var file descriptorpb.FileDescriptorProto
			if err := proto.Unmarshal(text, &file); err != nil {
				w.t.Fatal(err)
			}
			for _, d := range file.Service {
				if file.GetPackage()+"."+d.GetName() != s.Name {
					continue
				}
				for _, m := range d.Method {
					all["/"+s.Name+"/"+m.GetName()] = &grpc.StreamDesc{StreamName: m.GetName(), ClientStreams: m.GetClientStreaming(), ServerStreams: m.GetServerStreaming()}
				}
			}
		}
	}
	return all
}

// checkRPC calls an RPC by each role, with an empty message, which changes nothing.
func (w *accessWorld) checkRPC(name string, need access.Need, desc *grpc.StreamDesc) {
	for _, role := range accessRoles {
		code := w.call(name, role, desc)
		refused := code == codes.Unauthenticated || code == codes.PermissionDenied
		switch {
		case refused == enough(need, role):
			w.t.Errorf("%s, which is %s, by %q: %s", name, need, role, code)
		case refused && (code == codes.Unauthenticated) != (role == "" || role == "stranger"):
			w.t.Errorf("%s by %q: %s", name, role, code)
		}
	}
}

// call makes a call; OK stands for an answer or the end of a stream.
func (w *accessWorld) call(name, role string, desc *grpc.StreamDesc) codes.Code {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel() // ends a stream that would go on
	var options []grpc.CallOption
	if role != "" {
		options = append(options, grpc.PerRPCCredentials(access.Bearer(role+"-0123456789ab")))
	}
	stream, err := w.conn.NewStream(ctx, desc, name, options...)
	if err == nil {
		err = stream.SendMsg(&emptypb.Empty{})
	}
	if err == nil || err == io.EOF { // the end is told by RecvMsg
		_ = stream.CloseSend() // as it says
		err = stream.RecvMsg(&emptypb.Empty{})
	}
	if err == io.EOF {
		err = nil
	}
	return status.Code(err)
}

// slowProfiles take as long as they measure.
var slowProfiles = []string{"GET /debug/pprof/profile", "GET /debug/pprof/trace"}

// signedOut is what the console shows to whoever has not signed in.
var signedOut = []string{"GET /console/assets/{file}", "GET /console/login", "POST /console/login"}

var pathPart = regexp.MustCompile(`\{[^}]*\}`)

// checkRoute calls a route by each role, and from a page of another site.
func (w *accessWorld) checkRoute(c access.Call) {
	if slices.Contains(slowProfiles, c.Name) || slices.Contains(signedOut, c.Name) {
		return
	}
	if c.Need == access.Own {
		if status := w.fetch(c.Name, "", ""); status != http.StatusUnauthorized && status != http.StatusSeeOther {
			w.t.Errorf("%s, which asks by itself, without a token: %d", c.Name, status)
		}
		if status := w.fetch(c.Name, "client", ""); status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusSeeOther {
			w.t.Errorf("%s, which asks by itself, by a client: %d", c.Name, status)
		}
		return
	}
	for _, role := range accessRoles {
		got := w.fetch(c.Name, role, "")
		want := 0
		switch {
		case enough(c.Need, role):
		case role == "" || role == "stranger":
			want = http.StatusUnauthorized
		default:
			want = http.StatusForbidden
		}
		if refused := got == http.StatusUnauthorized || got == http.StatusForbidden; refused != (want != 0) || refused && got != want {
			w.t.Errorf("%s, which is %s, by %q: %d", c.Name, c.Need, role, got)
		}
	}
	if c.Need != access.Open {
		if got := w.fetch(c.Name, "operator", "cross-site"); got != http.StatusForbidden {
			w.t.Errorf("%s from a page of another site: %d", c.Name, got)
		}
	}
}

// fetch calls a route with names that there are not, and returns the status.
func (w *accessWorld) fetch(pattern, role, site string) int {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = http.MethodGet, pattern
	}
	face := "http"
	if strings.HasPrefix(path, "/metrics") || strings.HasPrefix(path, "/debug/") {
		face = "metrics"
	}
	path = pathPart.ReplaceAllStringFunc(path, func(part string) string {
		return map[bool]string{true: "", false: "none"}[part == "{$}"]
	})
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.addresses[face]+path, strings.NewReader(""))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if role != "" {
		r.Header.Set("Authorization", "Bearer "+role+"-0123456789ab")
	}
	if site != "" {
		r.Header.Set("Sec-Fetch-Site", site)
	}
	answer, err := http.DefaultTransport.RoundTrip(r) // does not follow redirects
	if err != nil {
		w.t.Fatalf("%s: %v", pattern, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20)) // so that the connection is used again
	answer.Body.Close()
	return answer.StatusCode
}

// TestAccessIsDocumented holds docs/reference/access.md to the table.
func TestAccessIsDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(moduleRoot, "docs/reference/access.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range access.Listed() {
		short := name[strings.LastIndex(name, "/")+1:] // RPCs by their names
		if strings.Contains(name, " ") {
			short = name
		}
		if !strings.Contains(string(text), "`"+short+"`") {
			t.Errorf("docs/reference/access.md lacks `%s`", short)
		}
	}
}

// muxFiles make muxes: the server's two, which register by way of the guard; Label Studio's,
// which the server mounts by its own rule; and that of a command, which listens nowhere.
var muxFiles = []string{"cmd/millrace/label_client.go", "labeling/labelstudio/backend.go", "serving/metrics.go", "serving/rest.go"}

// TestMuxesAreKnown: no other file makes a mux or listens, whose routes the walk above would
// not see.
func TestMuxesAreKnown(t *testing.T) {
	makes := regexp.MustCompile(`http\.(NewServeMux|ServeMux\{|DefaultServeMux|Handle\(|HandleFunc\(|ListenAndServe|Server\{)`)
	var found []string
	for _, part := range []string{"cmd", "console", "evaluation", "featurestore", "labeling", "orchestrator", "serving", "training"} {
		err := filepath.WalkDir(filepath.Join(moduleRoot, part), func(path string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if name, relErr := filepath.Rel(moduleRoot, path); relErr == nil && makes.Match(text) {
				found = append(found, filepath.ToSlash(name))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(found)
	if want := slices.Sorted(slices.Values(append(muxFiles, "serving/server.go"))); !slices.Equal(found, want) { // server.go serves those two
		t.Errorf("HTTP is served by %q, want %q: register routes by serving.Options.Routes", found, want)
	}
}
