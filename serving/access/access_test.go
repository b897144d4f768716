// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const secret = "-0123456789abcdef"

var everybody = []Token{
	{Name: "shop", Role: Client, Secret: "c" + secret}, {Name: "wall", Role: Viewer, Secret: "v" + secret},
	{Name: "ben", Role: Labeller, Secret: "l" + secret}, {Name: "anna", Role: Operator, Secret: "o" + secret},
}

func newGuard(t *testing.T, o Options) *Guard {
	t.Helper()
	o.Where, o.Logger = "the tokens", slog.New(slog.DiscardHandler)
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestKeyring(t *testing.T) {
	k, err := NewKeyring(everybody)
	if err != nil || k.Len() != 4 {
		t.Fatal(k.Len(), err)
	}
	if got := k.Find("l" + secret); got == nil || got.Name != "ben" || got.Role != Labeller || got.Secret != "" {
		t.Errorf("%+v", got)
	}
	for _, other := range []string{"", "l", "l" + secret + "x", "L" + secret} {
		if got := k.Find(other); got != nil {
			t.Errorf("%q is taken for %s", other, got.Name)
		}
	}
	for want, tokens := range map[string][]Token{
		"needs a name and a role": {{Name: "", Role: Viewer, Secret: secret}},
		"tokens[0] needs":         {{Name: "ann", Role: Nobody, Secret: secret}},
		"ann has 5 characters":    {{Name: "ann", Role: Viewer, Secret: "short"}},
		"cannot carry":            {{Name: "ann", Role: Viewer, Secret: secret + "\n"}},
		"ann has two tokens":      {{Name: "ann", Role: Viewer, Secret: "1" + secret}, {Name: "ann", Role: Viewer, Secret: "2" + secret}},
		"the process itself":      {{Name: selfName, Role: Viewer, Secret: secret}},
		"have the same token":     {{Name: "ann", Role: Viewer, Secret: secret}, {Name: "ben", Role: Operator, Secret: secret}},
	} {
		_, err := NewKeyring(tokens)
		if want = strings.Replace(want, "ann has 5", "the token of ann has 5", 1); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestReadTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# who there is\n\nanna operator o" + secret + "\r\n  shop\tclient c" + secret + "\n")
	got, err := ReadTokens(path)
	if want := []Token{everybody[3], everybody[0]}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                                  "there is no token in it",
		"anna operator":                     ":1: has 2 words",
		"\nanna king " + secret:             `:2: no role "king"`,
		"anna operator short":               "has 5 characters",
		strings.Repeat("#", fileBytesMax+1): "has more than 65536 bytes",
	} {
		write(text)
		if _, err := ReadTokens(path); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	write("  o" + secret + "\n")
	if got, err := ReadSecret(path); got != "o"+secret || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{"\n": "the token is empty", "a\nb": "cannot carry"} {
		write(text)
		if _, err := ReadSecret(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// want is what becomes of a call by role; tokens of nobody and of strangers are not known.
var want = map[Need]map[Role]bool{
	Change:   {Operator: true},
	Feedback: {Operator: true, Client: true},
	Pushes:   {Operator: true, Client: true},
	Open:     {Nobody: true, Client: true, Viewer: true, Labeller: true, Operator: true},
}

// routesOf are one call for each need; the last is one that nobody listed.
var routesOf = map[string]Need{
	"DELETE /v1/decisions/{decision}/rollout": Change, "POST /v1/feedback": Feedback, "POST /v1/decisions/{decision}": Open, "GET /v1/forgotten": Change,
}

func TestHTTP(t *testing.T) {
	for pattern, need := range routesOf {
		mux := http.NewServeMux()
		newGuard(t, Options{Tokens: everybody}).HTTP(mux).Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("by " + Name(r.Context())))
		}))
		method, path, _ := strings.Cut(strings.Replace(pattern, "{decision}", "order", 1), " ")
		ask := func(authorization string, header ...string) (int, string) {
			r := httptest.NewRequest(method, path, strings.NewReader("{}"))
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			if len(header) == 2 {
				r.Header.Set(header[0], header[1])
			}
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		for _, unknown := range []string{"", "Bearer ", "Bearer stranger" + secret, "Digest o" + secret} {
			code, text := ask(unknown)
			if open := need == Open; open != (code == 200) || !open && (code != 401 || strings.Contains(text, secret) || !strings.Contains(text, "the tokens")) {
				t.Errorf("%s by %q: %d %s", pattern, unknown, code, text)
			}
		}
		for _, token := range everybody {
			code, text := ask("Bearer " + token.Secret)
			switch allowed := want[need][token.Role]; {
			case allowed && code != 200, !allowed && (code != 403 || !strings.Contains(text, token.Name+" is a "+token.Role.String())):
				t.Errorf("%s by a %s: %d %s", pattern, token.Role, code, text)
			case allowed && need != Open && text != "by "+token.Name:
				t.Errorf("%s by a %s is %s", pattern, token.Role, text)
			}
		}
		if code, _ := ask("bearer o" + secret); code != 200 { // the scheme has no case
			t.Errorf("%s: %d", pattern, code)
		}
		if code, _ := ask("Bearer o"+secret, "Sec-Fetch-Site", "cross-site"); need != Open && method != "GET" && code != 403 {
			t.Errorf("%s from another site: %d", pattern, code)
		}
	}
}

// registered is a registrar that keeps what it is given.
type registered struct{ desc *grpc.ServiceDesc }

func (r *registered) RegisterService(desc *grpc.ServiceDesc, _ any) { r.desc = desc }

func feedbackService(served *int) *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "millrace.v1.Feedback", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "SubmitFeedback", Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
				*served++
				return nil, nil
			}},
			{MethodName: "GetOutcome", Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
				*served++
				return nil, nil
			}},
			{MethodName: "Forgotten", Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
				*served++
				return nil, nil
			}},
		},
		Streams: []grpc.StreamDesc{{StreamName: "StreamFeedback", ClientStreams: true, Handler: func(any, grpc.ServerStream) error { *served++; return nil }}},
	}
}

// callStream is a stream of a call with some metadata.
type callStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *callStream) Context() context.Context { return s.ctx }

func TestGRPC(t *testing.T) {
	served := 0
	into := &registered{}
	newGuard(t, Options{Tokens: everybody}).GRPC(into).RegisterService(feedbackService(&served), nil)
	needs := []Need{Feedback, Open, Change, Feedback}
	ask := func(i int, secret string) error {
		ctx := t.Context()
		if secret != "" {
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+secret))
		}
		if i == len(into.desc.Methods) {
			return into.desc.Streams[0].Handler(nil, &callStream{ctx: ctx})
		}
		_, err := into.desc.Methods[i].Handler(nil, ctx, nil, nil)
		return err
	}
	for i, need := range needs {
		for _, unknown := range []string{"", "stranger" + secret} {
			before := served
			if err := ask(i, unknown); (need == Open) != (err == nil) || err != nil && (status.Code(err) != codes.Unauthenticated || served != before) {
				t.Errorf("call %d of %q: %v", i, unknown, err)
			}
		}
		for _, token := range everybody {
			before := served
			err := ask(i, token.Secret)
			if allowed := want[need][token.Role]; allowed != (err == nil) || !allowed && status.Code(err) != codes.PermissionDenied || allowed != (served == before+1) {
				t.Errorf("call %d of a %s: %v", i, token.Role, err)
			}
		}
	}
}

// TestOpen: without tokens, and for what is said to be open, handlers are the very ones that
// were given; so are always those of the data plane.
func TestOpen(t *testing.T) {
	served := 0
	handler := func(m grpc.MethodDesc) uintptr { return reflect.ValueOf(m.Handler).Pointer() }
	for name, c := range map[string]struct {
		options Options
		same    [3]bool // SubmitFeedback, GetOutcome, Forgotten
	}{
		"no tokens":     {Options{}, [3]bool{true, true, true}},
		"tokens":        {Options{Tokens: everybody}, [3]bool{false, true, false}},
		"open feedback": {Options{Tokens: everybody, Open: []Need{Feedback}}, [3]bool{true, true, false}},
		"open pushes":   {Options{Tokens: everybody, Open: []Need{Pushes}}, [3]bool{false, true, false}},
	} {
		desc, into := feedbackService(&served), &registered{}
		g := newGuard(t, c.options)
		g.GRPC(into).RegisterService(desc, nil)
		for i := range c.same {
			if same := handler(desc.Methods[i]) == handler(into.desc.Methods[i]); same != c.same[i] {
				t.Errorf("%s: the handler of %s is the same: %v", name, desc.Methods[i].MethodName, same)
			}
		}
		if calls := g.Calls(); len(calls) != 4 || !calls[0].Listed || calls[2].Listed || calls[2].Need != Change {
			t.Errorf("%s: %+v", name, calls)
		}
		if g.Guards() != (g.Self() != "") || g.Guards() != (len(c.options.Tokens) > 0) {
			t.Errorf("%s: guards %v", name, g.Guards())
		}
	}
}

// TestSelf: the process itself is an operator whose name is told to nobody.
func TestSelf(t *testing.T) {
	g := newGuard(t, Options{Tokens: everybody})
	mux := http.NewServeMux()
	g.HTTP(mux).Handle("DELETE /v1/decisions/{decision}/rollout", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name := Name(r.Context()); name != "" {
			t.Errorf("it is called by %q", name)
		}
	}))
	r := httptest.NewRequest(http.MethodDelete, "/v1/decisions/order/rollout", nil)
	r.Header.Set("Authorization", "Bearer "+g.Self())
	w := httptest.NewRecorder()
	if mux.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestChanged: what the owner of a token changes is told, with how it ended; what is refused,
// adds data, or is the process's own is not.
func TestChanged(t *testing.T) {
	var told []Changed
	g := newGuard(t, Options{Tokens: everybody, Changed: func(c Changed) { told = append(told, c) }})
	mux := http.NewServeMux()
	for pattern, code := range map[string]int{
		"POST /v2/repository/models/{model}/load": 200, "POST /v2/repository/models/{model}/unload": 400,
		"POST /v1/decisions/{decision}/rollout": 200, "POST /v1/feedback": 200,
	} {
		g.HTTP(mux).Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	}
	into := &registered{}
	g.GRPC(into).RegisterService(&grpc.ServiceDesc{ServiceName: "millrace.v1.Admin", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "SwapVersion",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			q := &modelRequest{}
			if err := decode(q); err != nil {
				return nil, err
			}
			return "swapped", nil
		},
	}}}, nil)
	for _, secret := range []string{g.Self(), "c" + secret, "stranger" + secret, "o" + secret} {
		for _, path := range []string{"/v2/repository/models/risk/load", "/v2/repository/models/risk/unload", "/v1/decisions/order/rollout", "/v1/feedback"} {
			r := httptest.NewRequest(http.MethodPost, path, nil)
			r.Header.Set("Authorization", "Bearer "+secret)
			mux.ServeHTTP(httptest.NewRecorder(), r)
		}
		for _, err := range []error{nil, status.Error(codes.InvalidArgument, "bad message")} {
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer "+secret))
			_, _ = into.desc.Methods[0].Handler(nil, ctx, func(q any) error { // how it ended is told
				if err == nil {
					q.(*modelRequest).model = "risk"
				}
				return err
			}, nil)
		}
	}
	if len(told) != 3 {
		t.Fatalf("%+v", told)
	}
	for i, call := range []string{"POST /v2/repository/models/{model}/load", "POST /v2/repository/models/{model}/unload", adminPath + "SwapVersion"} {
		c := &told[i]
		if c.By != "anna" || c.Model != "risk" || c.Call != call || (c.Err != nil) != (i == 1) || (c.Answer == "swapped") != (i == 2) {
			t.Errorf("%d: %+v", i, *c)
		}
	}
	if err := told[1].Err; !strings.Contains(err.Error(), "400") {
		t.Errorf("%v", err)
	}
}

// modelRequest is a message that names a model.
type modelRequest struct{ model string }

func (r *modelRequest) GetModel() string { return r.model }
