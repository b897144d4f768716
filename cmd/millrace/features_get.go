// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// getFlags are those of `features get`.
type getFlags struct {
	asked  askedFlags
	at     momentFlag
	client featuresClient
	state  stateFlags
}

func (o *featuresOptions) getCommand() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:   "get SERVICE | VIEW:FEATURE... --entity KEY=VALUE",
		Short: "Read features of an entity",
		Long: `Read a feature service, or single features, of an entity: each value with its status
and the time of the newest event behind it.

A server is asked, unless --state names a folder that no server has open. Single
features are VIEW:FEATURE or LOOKUP:FIELD. A value that looks like a number but is a
text is written in double quotes: --entity 'code="0042"'.`,
		Example: `  millrace features get fraud --entity customer_id=42 --entity terminal_id=7 --fact amount=12.5
  millrace features get customer_payments:payments_1d customer_profile:country --entity customer_id=42
  millrace features get fraud --entity customer_id=42 --entity terminal_id=7 --at 2018-07-25T12:00:00Z --json
  millrace features get fraud --entity customer_id=42 --entity terminal_id=7 --state .millrace/state`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.get(cmd, args, &f)
		},
	}
	flags := cmd.Flags()
	o.addDefinitions(flags)
	f.client.addFlags(flags)
	f.state.addFlags(flags)
	flags.StringArrayVar(&f.asked.entities, "entity", nil, "key of an entity as `KEY=VALUE`; repeat for each")
	flags.StringArrayVar(&f.asked.facts, "fact", nil, "field of the request as `NAME=VALUE`; repeat as needed")
	flags.Var(&f.at, "at", "moment asked for (default: the service's time field, or now)")
	return cmd
}

func (o *featuresOptions) get(cmd *cobra.Command, names []string, f *getFlags) error {
	service, features, err := serviceOrFeatures(names)
	if err != nil {
		return err
	}
	flags := cmd.Flags()
	if flags.Changed("state") && flags.Changed("server") {
		return usageError{errors.New("give --server or --state, not both")}
	}
	read := f.fromServer
	if flags.Changed("state") {
		read = func(ctx context.Context, service string, features []string) ([]readValue, error) {
			return o.getFromState(ctx, cmd.ErrOrStderr(), service, features, f)
		}
	}
	values, err := read(cmd.Context(), service, features)
	if err != nil {
		return err
	}
	return o.show(cmd.OutOrStdout(), values, func(w io.Writer) error { return printValues(w, values) })
}

// serviceOrFeatures tells a service from single features, which have a colon.
func serviceOrFeatures(names []string) (service string, features []string, err error) {
	for _, name := range names {
		if strings.Contains(name, ":") {
			features = append(features, name)
		}
	}
	switch {
	case len(features) == len(names):
		return "", features, nil
	case len(names) == 1:
		return names[0], nil, nil
	}
	return "", nil, usageError{errors.New("name one feature service, or features as VIEW:FEATURE")}
}

func printValues(w io.Writer, values []readValue) error {
	table := newTable(w, "FEATURE\tVALUE\tSTATUS\tNEWEST EVENT")
	for _, v := range values {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Name, valueText(v.Value), v.Status, v.EventTime)
	}
	return table.Flush()
}

// getFromState reads from a state folder.
func (o *featuresOptions) getFromState(ctx context.Context, stderr io.Writer, service string, features []string, f *getFlags) (values []readValue, err error) {
	c, err := o.catalog()
	if err != nil {
		return nil, err
	}
	dir, owner, err := f.state.existing()
	if err != nil {
		return nil, err
	}
	store, err := f.state.openStore(ctx, dir, owner, c, stderr, newProgress(stderr), ", or ask the server: the same command with --server in place of --state")
	if err != nil {
		return nil, err
	}
	defer closing(&err, store.Close)
	var a *plan.Assembler
	if service != "" {
		a, err = store.Service(service)
	} else {
		a, err = store.Features(features)
	}
	if err != nil {
		return nil, usageError{err}
	}
	in, err := f.asked.inputs(a.Service(), f.at.micros())
	if err != nil {
		return nil, err
	}
	out := &plan.Vectors{WantEventTimes: true}
	if err := store.Read(ctx, a, in, out); err != nil {
		return nil, err
	}
	return rowValues(a, out, 0), nil
}

// rowValues are the values of one row of an answer.
func rowValues(a *plan.Assembler, v *plan.Vectors, row int) []readValue {
	values, text := make([]readValue, v.Width), 0
	for i := range a.Service().Features {
		f, status := &a.Service().Features[i], v.StatusRow(row)[i]
		values[i] = readValue{Name: f.Name, Status: status.String()}
		if v.WantEventTimes {
			values[i].EventTime = formatMicros(v.EventTimes[row*v.Width+i])
		}
		if f.Type != column.String {
			values[i].Value = numberValue(f.Type, v.Row(row)[i])
			continue
		}
		if status == window.Present || f.HasDefault {
			values[i].Value = string([]byte(v.TextRow(row)[text])) // the next read uses the memory
		}
		text++
	}
	return values
}

// fromServer asks a server.
func (f *getFlags) fromServer(ctx context.Context, service string, features []string) ([]readValue, error) {
	ctx, client, done, err := f.client.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	described, err := client.ListFeatures(ctx, &millracev1.ListFeaturesRequest{})
	if err != nil {
		return nil, f.client.explain(err)
	}
	q := &millracev1.GetRequest{Service: service, Features: features, At: f.at.micros(), EventTimes: true}
	types, err := f.bind(described, q)
	if err != nil {
		return nil, err
	}
	answer, err := client.Get(ctx, q)
	if err != nil {
		return nil, f.client.explain(err)
	}
	return answeredValues(answer, types)
}

// bind fills the keys and facts of a request with the types that the server says, and
// returns the types of the features.
func (f *getFlags) bind(described *millracev1.ListFeaturesResponse, q *millracev1.GetRequest) (types map[string]column.Type, err error) {
	types = map[string]column.Type{}
	keys, request := f.guessedKeys(described), []askedField(nil)
	if q.Service != "" {
		s := describedService(described, q.Service)
		if s == nil {
			return nil, usageError{fmt.Errorf("feature service %q: the server has %s", q.Service, serviceNames(described))}
		}
		keys, request = describedFields(s.Entities), describedFields(s.Request)
		for _, d := range s.Features {
			types[d.Name] = typeOf(d)
		}
	}
	asked := f.asked
	if q.Service == "" {
		asked.entities = unquoted(asked.entities)
	}
	entities, err := columnsOf("entity", asked.entities, keys)
	facts, err2 := columnsOf("fact", asked.facts, request)
	if err := errors.Join(err, err2); err != nil {
		return nil, usageError{err}
	}
	q.Entities, q.Request = wireColumns(entities), wireColumns(facts)
	return types, nil
}

// guessedKeys are the keys given, of the types that services of the server have for
// them, or that they look like.
func (f *getFlags) guessedKeys(described *millracev1.ListFeaturesResponse) []askedField {
	var fields []askedField
	for _, pair := range f.asked.entities {
		name, value, _ := strings.Cut(pair, "=")
		typ, _ := guessType(value)
		for _, s := range described.Services {
			for _, e := range s.Entities {
				if e.Name == name {
					typ = typeOf(e)
				}
			}
		}
		fields = append(fields, askedField{name: name, typ: typ})
	}
	return fields
}

// unquoted takes the quotes off values that are texts by them.
func unquoted(pairs []string) []string {
	plain := make([]string, len(pairs))
	for i, pair := range pairs {
		name, value, found := strings.Cut(pair, "=")
		if plain[i] = pair; found {
			_, value = guessType(value)
			plain[i] = name + "=" + value
		}
	}
	return plain
}

// answeredValues are the values of an answer of one row.
func answeredValues(answer *millracev1.GetResponse, types map[string]column.Type) ([]readValue, error) {
	n := len(answer.Names)
	if answer.Rows != 1 || len(answer.Numbers) != n || len(answer.Statuses) != n {
		return nil, errors.New("the server's answer is not one row")
	}
	texts := map[int]string{}
	for i, place := range answer.TextFeatures {
		if i < len(answer.Texts) {
			texts[int(place)] = answer.Texts[i]
		}
	}
	values := make([]readValue, n)
	for i, name := range answer.Names {
		status := millracev1.FieldStatus(answer.Statuses[i])
		values[i] = readValue{Name: name, Status: statusText(status), Value: numberValue(types[name], answer.Numbers[i])}
		if i < len(answer.EventTimes) {
			values[i].EventTime = formatMicros(answer.EventTimes[i])
		}
		// Whether an absent text has a default only its being there can tell.
		if text, is := texts[i]; is && (text != "" || status == millracev1.FieldStatus_FIELD_STATUS_PRESENT) {
			values[i].Value = text
		}
	}
	return values, nil
}

var wireStatuses = map[millracev1.FieldStatus]window.Status{
	millracev1.FieldStatus_FIELD_STATUS_PRESENT: window.Present, millracev1.FieldStatus_FIELD_STATUS_NULL_VALUE: window.Null,
	millracev1.FieldStatus_FIELD_STATUS_NOT_FOUND: window.NotFound, millracev1.FieldStatus_FIELD_STATUS_OUTSIDE_MAX_AGE: window.OutsideMaxAge,
}

func statusText(s millracev1.FieldStatus) string {
	if status, known := wireStatuses[s]; known {
		return status.String()
	}
	return s.String()
}
