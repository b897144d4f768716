// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	"github.com/millrace-ml/millrace/serving/access"
)

// TestToken: pushes, in calls and streams, give the token; what needs none does not.
func TestToken(t *testing.T) {
	const secret = "shop-0123456789ab"
	g, err := access.New(access.Options{Tokens: []access.Token{{Name: "shop", Role: access.Client, Secret: secret}}, Where: "its tokens"})
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{}
	deciding := func(ctx context.Context, q any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if given := metadata.ValueFromIncomingContext(ctx, "authorization"); len(given) > 0 && strings.HasSuffix(info.FullMethod, "/Decide") {
			t.Errorf("%s is given a token", info.FullMethod)
		}
		return next(ctx, q)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, f := grpc.NewServer(grpc.UnaryInterceptor(deciding)), &faulty{push: l.push, decide: echo}
	millracev1.RegisterFeaturesServer(g.GRPC(server), f)
	millracev1.RegisterDecisionsServer(g.GRPC(server), f)
	go server.Serve(listener) // ends with Stop
	defer server.Stop()
	for _, c := range []struct {
		token string
		code  codes.Code
	}{{"", codes.Unauthenticated}, {"else-0123456789ab", codes.Unauthenticated}, {secret, codes.OK}} {
		o := &outcomes{}
		client, err := Dial(t.Context(), listener.Addr().String(), Options{Token: c.token, DialTimeout: time.Minute, PushTimeout: time.Minute, DecideTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		var e Events
		e.Ints("id", 1)
		if _, err := client.Push(t.Context(), "payments", &e); status.Code(err) != c.code {
			t.Errorf("a push with %q: %v", c.token, err)
		}
		s, err := client.PushStream(t.Context(), "payments", PushStreamOptions{Done: o.done})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Push(t.Context(), payment(2)), s.Close()); err != nil {
			t.Error(err)
		}
		if taken := s.Stats().Accepted == 1; taken != (c.code == codes.OK) || s.Stats().Accepted+s.Stats().Failed != 1 {
			t.Errorf("a stream with %q: %+v", c.token, s.Stats())
		}
		if _, err := client.Decide(t.Context(), NewDecide("d").Float("score", 0.5)); err != nil {
			t.Error(err)
		}
		client.Close()
	}
	if _, err := Dial(t.Context(), "localhost:1", Options{Token: "a\nb"}); err == nil || !strings.Contains(err.Error(), "the token has what a header cannot carry") {
		t.Errorf("%v", err)
	}
}
