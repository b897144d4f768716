// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/serving/access"
)

// clientOptions say how a command reaches a model server.
type clientOptions struct {
	url     string
	timeout time.Duration
	tls     bool
	caFile  string
	// certFile and keyFile are the client's own, for servers that ask for one.
	certFile string
	keyFile  string
	token    tokenOptions
}

func (o *clientOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.url, "url", "localhost:8001", "gRPC address of the server")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "time limit of the whole call")
	flags.BoolVar(&o.tls, "tls", false, "encrypt the connection")
	flags.StringVar(&o.caFile, "tls-ca", "", "PEM `file` of the authority that signed the server's certificate (default: the system's)")
	flags.StringVar(&o.certFile, "tls-cert", "", "PEM `file` of the client's certificate")
	flags.StringVar(&o.keyFile, "tls-key", "", "PEM `file` of the client's key")
	o.token.addFlags(flags)
}

func (o *clientOptions) validate() error {
	if o.timeout <= 0 {
		return usageError{fmt.Errorf("--timeout %v: give a time above 0", o.timeout)}
	}
	if !o.tls && (o.caFile != "" || o.certFile != "" || o.keyFile != "") {
		return usageError{errors.New("--tls-ca, --tls-cert and --tls-key need --tls")}
	}
	if (o.certFile == "") != (o.keyFile == "") {
		return usageError{errors.New("--tls-cert and --tls-key go together")}
	}
	return nil
}

// connect opens a connection and bounds the context of the calls made over it. The
// caller runs done when it needs neither any more.
func (o *clientOptions) connect(ctx context.Context) (_ context.Context, conn *grpc.ClientConn, done func(), err error) {
	if err := o.validate(); err != nil {
		return nil, nil, nil, err
	}
	creds, err := o.credentials()
	if err != nil {
		return nil, nil, nil, err
	}
	token, err := o.token.read()
	if err != nil {
		return nil, nil, nil, err
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32))}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(access.Bearer(token)))
	}
	conn, err = grpc.NewClient(o.url, options...)
	if err != nil {
		return nil, nil, nil, usageError{fmt.Errorf("--url %q: %w", o.url, err)}
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	return ctx, conn, func() { cancel(); conn.Close() }, nil
}

func (o *clientOptions) credentials() (credentials.TransportCredentials, error) {
	if !o.tls {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.caFile != "" {
		authorities, err := readAuthorities(o.caFile)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		config.RootCAs = authorities
	}
	if o.certFile != "" {
		cert, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return credentials.NewTLS(config), nil
}

// explain turns the error of a call into a line for a person.
func (o *clientOptions) explain(err error) error {
	state, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch state.Code() {
	case codes.Unavailable:
		return fmt.Errorf("%s: unavailable: %s (is a server running there? start one with millrace serve, or give --url)", o.url, state.Message())
	case codes.DeadlineExceeded:
		return fmt.Errorf("%s: no answer within %v (--timeout)", o.url, o.timeout)
	case codes.Unimplemented:
		return fmt.Errorf("%s: the server does not offer this: %s", o.url, state.Message())
	case codes.Unauthenticated:
		return fmt.Errorf("%s: %s; %s", o.url, state.Message(), tokenAdvice)
	case codes.PermissionDenied:
		return fmt.Errorf("%s: %s", o.url, state.Message())
	default:
		return fmt.Errorf("%s: %s: %s", o.url, state.Code(), state.Message())
	}
}
