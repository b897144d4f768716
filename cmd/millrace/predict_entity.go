// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/serving/client"
)

const entityLong = `With --entity or --fact it asks for a decision about entities: the server computes their
features, runs the model and applies the policy. --decision names the one to make, where
the server has several; --features reads a feature service and decides nothing. A decision
with --key is made once: asking again with the same key gives the same answer.`

const entityExample = `  millrace predict --entity customer_id=42 --entity terminal_id=7 --fact amount=120.5 --decision card_payment --explain
  millrace predict --entity customer_id=42 --entity terminal_id=7 --fact amount=120.5 --features fraud --format json`

// entityOptions are the flags of the predict command that ask about entities.
type entityOptions struct {
	given    askedFlags
	decision string
	features string
	key      string
	explain  bool
}

// entityFlags are those that ask about entities; modelFlags go with --model alone.
var (
	entityFlags = []string{"entity", "fact", "decision", "features", "key", "explain"}
	modelFlags  = []string{"model", "model-version", "input", "shape", "output", "stream", "json"}
)

func (o *entityOptions) addFlags(flags *pflag.FlagSet, c *clientOptions) {
	flags.StringVar(&c.url, "server", c.url, "gRPC `address` of the server; the same as --url")
	flags.StringArrayVar(&o.given.entities, "entity", nil, "key of an entity as `KEY=VALUE`; repeat for each")
	flags.StringArrayVar(&o.given.facts, "fact", nil, "fact of the moment as `NAME=VALUE`; repeat as needed")
	flags.StringVar(&o.decision, "decision", "", "`name` of the decision (default: the only one)")
	flags.StringVar(&o.features, "features", "", "read the features of a `service` in place of a decision")
	flags.StringVar(&o.key, "key", "", "idempotency key of the decision (default: the fact that the policy names, if any)")
	flags.BoolVar(&o.explain, "explain", false, "also print the features that the model saw")
}

// asked reports whether flags ask about entities and not about a model.
func (o *entityOptions) asked(flags *pflag.FlagSet) bool {
	return slices.ContainsFunc(entityFlags, flags.Changed)
}

func (o *predictOptions) validateEntity(flags *pflag.FlagSet) error {
	var problems []error
	for _, name := range modelFlags {
		if !flags.Changed(name) {
			continue
		}
		hint := "asks a model by name, and does not go with --entity, --fact and --decision"
		if name == "json" {
			hint = "reads a request to a model; --format json prints the answer as JSON"
		}
		problems = append(problems, fmt.Errorf("--%s %s", name, hint))
	}
	if flags.Changed("server") && flags.Changed("url") {
		problems = append(problems, errors.New("--server and --url are the same; give one"))
	}
	if o.entity.features != "" && (o.entity.decision != "" || o.entity.key != "" || o.entity.explain || o.id != "") {
		problems = append(problems, errors.New("--features reads features alone: --decision, --key, --explain and --request-id do not go with it"))
	}
	if o.format != "table" && o.format != "json" {
		problems = append(problems, fmt.Errorf("--format %q: it is table or json", o.format))
	}
	if len(problems) > 0 {
		return usageError{errors.Join(problems...)}
	}
	return o.client.validate()
}

// runEntity asks about entities.
func (o *predictOptions) runEntity(cmd *cobra.Command) error {
	if err := o.validateEntity(cmd.Flags()); err != nil {
		return err
	}
	if o.entity.features != "" {
		return o.readFeatures(cmd.Context(), cmd.OutOrStdout())
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.client.timeout)
	defer cancel()
	creds, err := o.client.credentials()
	if err != nil {
		return err
	}
	token, err := o.client.token.read()
	if err != nil {
		return err
	}
	c, err := client.Dial(ctx, o.client.url, client.Options{Lazy: true, Token: token, DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(creds)}})
	if err != nil {
		return usageError{err}
	}
	defer c.Close()
	request, err := o.decideRequest(ctx, c)
	if err != nil {
		return err
	}
	d, err := c.Decide(ctx, request)
	if err != nil {
		return o.client.explain(err)
	}
	if o.format == "json" {
		return printDecisionJSON(cmd.OutOrStdout(), d)
	}
	return printDecision(cmd.OutOrStdout(), d)
}

// decideRequest makes the request, with the types that the server says.
func (o *predictOptions) decideRequest(ctx context.Context, c *client.Client) (*client.DecideRequest, error) {
	all, err := c.ListDecisions(ctx)
	if err != nil {
		return nil, o.client.explain(err)
	}
	d, err := chooseDecision(all, o.entity.decision)
	if err != nil {
		return nil, err
	}
	services, _, err := c.ListFeatures(ctx)
	if err != nil {
		return nil, o.client.explain(err)
	}
	isKey := func(name string) bool {
		return slices.ContainsFunc(services, func(s client.ServiceInfo) bool {
			return s.Name == d.Service && slices.ContainsFunc(s.Entities, func(f client.Field) bool { return f.Name == name })
		})
	}
	columns, err := o.entity.columns(d, isKey)
	if err != nil {
		return nil, err
	}
	q := &client.DecideRequest{Decision: d.Name, Key: o.entity.key, Keys: client.KeyNone, RequestID: o.id, Explain: o.entity.explain}
	for i := range columns {
		addFact(q, &columns[i])
	}
	return q, nil
}

// chooseDecision finds a decision by name, or the only one.
func chooseDecision(all []client.DecisionInfo, name string) (*client.DecisionInfo, error) {
	var names []string
	for i := range all {
		if all[i].Name == name || name == "" && len(all) == 1 {
			return &all[i], nil
		}
		names = append(names, all[i].Name)
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("the server has no decisions; --features SERVICE reads features")
	case name == "":
		return nil, usageError{fmt.Errorf("--decision NAME is missing: the server has %s", strings.Join(names, ", "))}
	}
	return nil, usageError{fmt.Errorf("--decision %s: the server has %s", name, strings.Join(names, ", "))}
}

// columns are the facts given, of the decision's types. Which of the two flags named a
// fact does not matter, as the server makes no difference either.
func (o *entityOptions) columns(d *client.DecisionInfo, isKey func(string) bool) ([]column.Column, error) {
	var keys, facts []askedField
	for _, f := range d.Facts {
		typ, err := column.ParseType(f.Type)
		if err != nil {
			typ = column.String // of a newer server, which judges
		}
		if isKey(f.Name) {
			keys = append(keys, askedField{f.Name, typ, f.Required})
		} else {
			facts = append(facts, askedField{f.Name, typ, f.Required})
		}
	}
	named := func(fields []askedField, pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.ContainsFunc(fields, func(f askedField) bool { return f.name == name })
	}
	var entityPairs, factPairs []string
	for _, pair := range o.given.entities {
		if named(facts, pair) {
			factPairs = append(factPairs, pair)
		} else {
			entityPairs = append(entityPairs, pair)
		}
	}
	for _, pair := range o.given.facts {
		if named(keys, pair) {
			entityPairs = append(entityPairs, pair)
		} else {
			factPairs = append(factPairs, pair)
		}
	}
	entities, err := columnsOf("entity", entityPairs, keys)
	rest, err2 := columnsOf("fact", factPairs, facts)
	if err := errors.Join(err, err2); err != nil {
		return nil, usageError{err}
	}
	return append(entities, rest...), nil
}

// addFact adds a column of one value, unless it is null.
func addFact(q *client.DecideRequest, c *column.Column) {
	switch {
	case c.Null(0):
	case c.Type == column.Bool:
		q.Bool(c.Name, c.Numbers[0] != 0)
	case c.Type == column.Float64:
		q.Float(c.Name, c.Numbers[0])
	case c.Type == column.String:
		q.Text(c.Name, c.Texts[0])
	default:
		q.Int(c.Name, c.Ints[0])
	}
}

// readFeatures reads a feature service, as `features get` does.
func (o *predictOptions) readFeatures(ctx context.Context, stdout io.Writer) error {
	get := getFlags{asked: o.entity.given, client: featuresClient{o.client}}
	values, err := get.fromServer(ctx, o.entity.features, nil)
	if err != nil {
		return err
	}
	show := featuresOptions{json: o.format == "json"}
	return show.show(stdout, values, func(w io.Writer) error { return printValues(w, values) })
}

// printDecision prints a decision for people.
func printDecision(w io.Writer, d *client.Decision) error {
	table := newTable(w, "DECISION\t"+d.Decision)
	line := func(name, format string, args ...any) { fmt.Fprintf(table, name+"\t"+format+"\n", args...) }
	if math.IsNaN(d.Score) {
		line("score", "none: no model was asked")
	} else {
		line("score", "%.6g", d.Score)
	}
	for _, r := range d.Reasons {
		line("reason", "%s: %s", r.Code, r.Text)
	}
	if d.Rule != "" {
		line("rule", "%s", d.Rule)
	}
	if d.Segment != "" {
		line("segment", "%s", d.Segment)
	}
	if d.Arm != "" {
		line("arm", "%s, drawn with probability %g", d.Arm, d.Propensity)
	}
	if d.Model != "" {
		line("model", "%s version %d", d.Model, d.ModelVersion)
	}
	line("policy", "%s, features %s", d.PolicyVersion, d.FeaturesVersion)
	if d.Degraded {
		by := ""
		if d.Fallback != "" {
			by = "; answered by " + d.Fallback
		}
		line("degraded", "%s%s", d.DegradedReason, by)
	}
	if d.Unattributed != "" {
		line("contributions", "none: %s", d.Unattributed)
	}
	if d.Repeated {
		line("repeated", "remembered from an earlier request with the same key")
	}
	line("prediction", "%s", d.PredictionID)
	if d.RequestID != "" {
		line("request", "%s", d.RequestID)
	}
	line("took", "%v (features %v, model %v)", d.TotalTime.Round(time.Microsecond), d.FeaturesTime.Round(time.Microsecond), d.ModelTime.Round(time.Microsecond))
	if err := table.Flush(); err != nil || len(d.Features) == 0 {
		return err
	}
	fmt.Fprintln(w)
	head := "FEATURE\tVALUE\tSTATUS"
	if d.Contributions != nil {
		head += fmt.Sprintf("\tADDS TO %.6g", d.ContributionBase)
	}
	table = newTable(w, head)
	for i, f := range d.Features {
		fmt.Fprintf(table, "%s\t%s\t%s", f.Name, valueText(numberValue(column.Float64, f.Value)), f.Status.String())
		if d.Contributions != nil {
			fmt.Fprintf(table, "\t%+.4g", d.Contributions[i])
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// decisionJSON has the names of the answer over HTTP.
type decisionJSON struct {
	PredictionID    string      `json:"prediction_id"`
	RequestID       string      `json:"request_id,omitempty"`
	Decision        string      `json:"decision"`
	Score           any         `json:"score"`
	Reasons         []reason    `json:"reasons"`
	Model           string      `json:"model,omitempty"`
	ModelVersion    int64       `json:"model_version,omitempty"`
	PolicyVersion   string      `json:"policy_version"`
	FeaturesVersion string      `json:"features_version"`
	Arm             string      `json:"arm,omitempty"`
	Propensity      float64     `json:"propensity"`
	Segment         string      `json:"segment,omitempty"`
	Rule            string      `json:"rule,omitempty"`
	Degraded        bool        `json:"degraded"`
	DegradedReason  string      `json:"degraded_reason,omitempty"`
	Fallback        string      `json:"fallback,omitempty"`
	Repeated        bool        `json:"repeated,omitempty"`
	Features        []readValue `json:"features,omitempty"`
	FeaturesNanos   int64       `json:"features_nanos"`
	ModelNanos      int64       `json:"model_nanos"`
	TotalNanos      int64       `json:"total_nanos"`
	// As in the answer over HTTP.
	Contributions    map[string]any `json:"contributions,omitempty"`
	ContributionBase any            `json:"contribution_base,omitempty"`
	Unattributed     string         `json:"unattributed,omitempty"`
}

type reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

func printDecisionJSON(w io.Writer, d *client.Decision) error {
	out := decisionJSON{
		PredictionID: d.PredictionID, RequestID: d.RequestID, Decision: d.Decision, Score: numberValue(column.Float64, d.Score), Reasons: []reason{},
		Model: d.Model, ModelVersion: d.ModelVersion, PolicyVersion: d.PolicyVersion, FeaturesVersion: d.FeaturesVersion,
		Arm: d.Arm, Propensity: d.Propensity, Segment: d.Segment, Rule: d.Rule,
		Degraded: d.Degraded, DegradedReason: d.DegradedReason, Fallback: d.Fallback, Repeated: d.Repeated,
		FeaturesNanos: int64(d.FeaturesTime), ModelNanos: int64(d.ModelTime), TotalNanos: int64(d.TotalTime),
	}
	for _, r := range d.Reasons {
		out.Reasons = append(out.Reasons, reason(r))
	}
	for _, f := range d.Features {
		out.Features = append(out.Features, readValue{Name: f.Name, Value: numberValue(column.Float64, f.Value), Status: f.Status.String()})
	}
	if d.Contributions != nil {
		out.ContributionBase, out.Contributions = numberValue(column.Float64, d.ContributionBase), map[string]any{}
		for i, x := range d.Contributions {
			out.Contributions[d.Features[i].Name] = numberValue(column.Float64, x)
		}
	}
	out.Unattributed = d.Unattributed
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(out)
}
