// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/featurestore/column"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// featuresClient says how a command reaches a server with a feature store.
type featuresClient struct{ clientOptions }

// addFlags adds the flags of other client commands; the address is --server here, since a
// store may have other addresses too.
func (f *featuresClient) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "server", "localhost:8001", "gRPC `address` of the server")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "time limit of a call")
	flags.BoolVar(&f.tls, "tls", false, "encrypt the connection")
	flags.StringVar(&f.caFile, "tls-ca", "", "PEM `file` of the authority that signed the server's certificate (default: the system's)")
	flags.StringVar(&f.certFile, "tls-cert", "", "PEM `file` of the client's certificate")
	flags.StringVar(&f.keyFile, "tls-key", "", "PEM `file` of the client's key")
	f.token.addFlags(flags)
}

// dial connects; the context bounds all calls of a command that makes few.
func (f *featuresClient) dial(ctx context.Context) (context.Context, millracev1.FeaturesClient, func(), error) {
	ctx, conn, done, err := f.connect(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	return ctx, millracev1.NewFeaturesClient(conn), done, nil
}

// explain turns the error of a call into a line for a person.
func (f *featuresClient) explain(err error) error {
	state, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch state.Code() {
	case codes.Unavailable:
		return fmt.Errorf("%s: unavailable: %s (is a server running there? start one with millrace features serve or millrace up, or give --server)", f.url, state.Message())
	case codes.Unimplemented:
		return fmt.Errorf("%s: the server has no feature store: %s", f.url, state.Message())
	case codes.InvalidArgument, codes.NotFound:
		return fmt.Errorf("%s: %s", f.url, state.Message())
	}
	return f.clientOptions.explain(err)
}

func describedService(d *millracev1.ListFeaturesResponse, name string) *millracev1.FeatureService {
	for _, s := range d.Services {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func serviceNames(d *millracev1.ListFeaturesResponse) string {
	if len(d.Services) == 0 {
		return "no services"
	}
	var names []string
	for _, s := range d.Services {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

func describedSource(d *millracev1.ListFeaturesResponse, name string) *millracev1.FeatureSource {
	for _, s := range d.Sources {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// pushedNames are the sources of a server that take pushes.
func pushedNames(d *millracev1.ListFeaturesResponse) string {
	var names []string
	for _, s := range d.Sources {
		if s.Push {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return "none that takes pushes"
	}
	return strings.Join(names, ", ")
}

func describedFields(all []*millracev1.FieldDescription) []askedField {
	var fields []askedField
	for _, d := range all {
		fields = append(fields, askedField{d.Name, typeOf(d), d.Required})
	}
	return fields
}

// typeOf is the type of a field of the server; a type of a newer server is taken for a
// text, and the server judges.
func typeOf(d *millracev1.FieldDescription) column.Type {
	t, err := column.ParseType(d.Type)
	if err != nil {
		return column.String
	}
	return t
}

// wireColumns are columns as the server takes them; those all null are left out.
func wireColumns(columns []column.Column) []*millracev1.Column {
	var wire []*millracev1.Column
	for i := range columns {
		if w := wireColumn(&columns[i]); len(w.Nulls) < columns[i].Len() {
			wire = append(wire, w)
		}
	}
	return wire
}

func wireColumn(c *column.Column) *millracev1.Column {
	w := &millracev1.Column{Name: c.Name}
	switch c.Type {
	case column.Bool:
		w.Bools = make([]bool, len(c.Numbers))
		for i, x := range c.Numbers {
			w.Bools[i] = x == 1
		}
	case column.Float64:
		w.Numbers = c.Numbers
	case column.String:
		w.Texts = c.Texts
	default:
		w.Integers = c.Ints
	}
	for i := range c.Len() {
		if c.Null(i) {
			w.Nulls = append(w.Nulls, uint32(i))
		}
	}
	return w
}
