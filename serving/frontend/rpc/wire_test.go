// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/featurestore/window"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	"github.com/millrace-ml/millrace/serving/frontend"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

func number(name string, v float64) *millracev1.Fact {
	return &millracev1.Fact{Name: name, Value: &millracev1.Value{Kind: &millracev1.Value_Number{Number: v}}}
}

func integer(name string, v int64) *millracev1.Fact {
	return &millracev1.Fact{Name: name, Value: &millracev1.Value{Kind: &millracev1.Value_Integer{Integer: v}}}
}

func words(name, v string) *millracev1.Fact {
	return &millracev1.Fact{Name: name, Value: &millracev1.Value{Kind: &millracev1.Value_Text{Text: v}}}
}

func truth(name string, v bool) *millracev1.Fact {
	return &millracev1.Fact{Name: name, Value: &millracev1.Value{Kind: &millracev1.Value_Bool{Bool: v}}}
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// bind sets a request to what the generated message says.
func bind(f *frontend.Frontend, m *millracev1.DecideRequest) (*frontend.Request, error) {
	q, err := f.NewRequest(m.Decision)
	if err != nil {
		return nil, err
	}
	err = q.SetKey(m.IdempotencyKey)
	q.Explain = m.Explain
	for _, fact := range m.Facts {
		if err != nil {
			break
		}
		switch v := fact.Value.GetKind().(type) {
		case *millracev1.Value_Number:
			err = q.SetNumber(fact.Name, v.Number)
		case *millracev1.Value_Integer:
			err = q.SetInt(fact.Name, v.Integer)
		case *millracev1.Value_Text:
			err = q.SetText(fact.Name, v.Text)
		case *millracev1.Value_Bool:
			err = q.SetBool(fact.Name, v.Bool)
		default:
			err = q.SetNull(fact.Name)
		}
	}
	if err != nil {
		q.Release()
		return nil, err
	}
	return q, nil
}

// content is all that was set of a request.
func content(q *frontend.Request) string {
	v := reflect.ValueOf(q).Elem()
	facts := v.FieldByName("facts").Elem()
	return fmt.Sprintf("%s %+v %q %t %v %v", q.Policy().Name, v.FieldByName("values"), v.FieldByName("key").String(), q.Explain,
		facts.FieldByName("row"), facts.FieldByName("given"))
}

// checkRequest decodes both ways.
func checkRequest(t *testing.T, s *Service, data []byte) {
	t.Helper()
	x := s.newExchange()
	defer x.release()
	kept := append([]byte(nil), data...)
	if err := x.UnmarshalWire(kept); err != nil {
		t.Fatalf("%x: %v", data, err)
	}
	for i := range kept { // the memory goes back to the transport
		kept[i] = 0xee
	}
	m := new(millracev1.DecideRequest)
	err := proto.Unmarshal(data, m)
	if err != nil {
		if x.err == nil {
			t.Fatalf("%x: decoded, though protobuf says %v", data, err)
		}
		return
	}
	if x.err != nil && countField(data, requestDecision) > 1 {
		return // refused for that or for what came before it; protobuf takes the last
	}
	want, err := bind(s.frontend, m)
	if err != nil {
		if x.err == nil || codeOf(x.err) != codeOf(err) {
			t.Fatalf("%x: got %v, want %v", data, x.err, err)
		}
		return
	}
	defer want.Release()
	if x.err != nil {
		t.Fatalf("%x: refused: %v", data, x.err)
	}
	if got, want := content(x.request), content(want); got != want || string(x.requestID) != m.RequestId {
		t.Fatalf("%x: decoded\n%s %q, want\n%s %q", data, got, x.requestID, want, m.RequestId)
	}
}

// countField counts a field of a sound message.
func countField(data []byte, field protowire.Number) (count int) {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeField(data)
		if n < 0 {
			return count
		}
		if number == field && kind == protowire.BytesType {
			count++
		}
		data = data[n:]
	}
	return count
}

func requests() []*millracev1.DecideRequest {
	all := []*millracev1.DecideRequest{
		{}, {Decision: "none"}, {Decision: "anyone"},
		{Decision: "anyone", IdempotencyKey: "key", RequestId: "id", Explain: true},
		{Decision: "anyone", IdempotencyKey: strings.Repeat("k", frontend.KeyBytesMax+1)},
		{Decision: "anyone", Facts: []*millracev1.Fact{{Name: "text"}, {Name: "flag", Value: &millracev1.Value{}}}},
		{Decision: "anyone", Facts: []*millracev1.Fact{{}}},
		{Decision: "anyone", Facts: []*millracev1.Fact{truth("flag", true), truth("flag", false)}},
		{Decision: "user", Facts: []*millracev1.Fact{integer("user_id", 7), number("amount", 0.25)}},
	}
	for _, name := range []string{"number", "whole", "when", "text", "flag", "none"} {
		for _, f := range []*millracev1.Fact{
			number(name, 0.5), number(name, math.Copysign(0, -1)), number(name, math.NaN()), number(name, math.Inf(1)), number(name, 1),
			integer(name, -1), integer(name, math.MaxInt64), integer(name, math.MinInt64), words(name, ""), words(name, "größer"),
			truth(name, true), truth(name, false),
		} {
			all = append(all, &millracev1.DecideRequest{Decision: "anyone", Facts: []*millracev1.Fact{f}, RequestId: name})
		}
	}
	return all
}

// oddities are encodings that generated code does not make but reads.
func oddities() map[string][]byte {
	message := func(fields ...[]byte) (b []byte) {
		for _, f := range fields {
			b = append(b, f...)
		}
		return b
	}
	bytes := func(number protowire.Number, v ...[]byte) []byte { return appendBytes(nil, number, message(v...)) }
	name := func(decision string) []byte { return appendText(nil, requestDecision, decision) }
	varint := func(number protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
	}
	fact := func(name string, values ...[]byte) []byte {
		b := appendText(nil, factName, name)
		for _, v := range values {
			b = append(b, appendBytes(nil, factValue, v)...)
		}
		return appendBytes(nil, requestFacts, b)
	}
	half := protowire.AppendFixed64(protowire.AppendTag(nil, valueNumber, protowire.Fixed64Type), math.Float64bits(0.5))
	emptyValue := protowire.AppendBytes(protowire.AppendTag(nil, factValue, protowire.BytesType), nil)
	bad := []byte{0xff, 0xfe}
	return map[string][]byte{
		"decision last":          message(fact("number", half), name("anyone")),
		"decision twice":         message(name("anyone"), name("user")),
		"same decision twice":    message(name("anyone"), name("anyone")),
		"two kinds":              message(name("anyone"), fact("number", varint(valueInteger, 4), half)),
		"two kinds in one":       message(name("anyone"), fact("text", message(half, appendText(nil, valueText, "last")))),
		"a value, then an empty": message(name("anyone"), bytes(requestFacts, appendText(nil, factName, "number"), appendBytes(nil, factValue, half), emptyValue)),
		"wrong wire types":       message(name("anyone"), varint(requestFacts, 1), varint(requestID, 1), bytes(requestExplain, half), fact("number", half, varint(valueNumber, 3), appendText(nil, valueBool, "x"))),
		"unknown fields":         message(name("anyone"), varint(99, 7), bytes(100, half), protowire.AppendFixed32(protowire.AppendTag(nil, 7, protowire.Fixed32Type), 1)),
		"a group":                message(name("anyone"), protowire.AppendTag(nil, 50, protowire.StartGroupType), varint(1, 1), protowire.AppendTag(nil, 50, protowire.EndGroupType)),
		"a group without end":    message(name("anyone"), protowire.AppendTag(nil, 50, protowire.StartGroupType)),
		"an end without a group": message(name("anyone"), protowire.AppendTag(nil, 50, protowire.EndGroupType)),
		"field too high":         message(name("anyone"), protowire.AppendVarint(nil, uint64(protowire.MaxValidNumber+1)<<3|uint64(protowire.VarintType)), []byte{0}),
		"field too high inside":  message(name("anyone"), bytes(requestFacts, protowire.AppendVarint(nil, uint64(protowire.MaxValidNumber+1)<<3|uint64(protowire.VarintType)), []byte{0})),
		"field 0":                message(name("anyone"), []byte{0x02, 0x00}),
		"bool of many bits":      message(name("anyone"), fact("flag", varint(valueBool, 1<<63)), varint(requestExplain, 1<<40)),
		"explain off again":      message(name("anyone"), varint(requestExplain, 1), varint(requestExplain, 0)),
		"keys":                   message(name("anyone"), appendText(nil, requestKey, strings.Repeat("k", 300)), appendText(nil, requestKey, "k")),
		"cut":                    message(name("anyone"), fact("number", half)[:9]),
		"cut inside":             message(name("anyone"), bytes(requestFacts, []byte{0x0a, 0x50, 'n'})),
		"cut value":              message(name("anyone"), fact("number", half[:5])),
		"long varint":            message(name("anyone"), []byte{0x28}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}),
		"bad name":               message(name("anyone"), fact(string(bad), half)),
		"bad text":               message(name("anyone"), fact("text", bytes(valueText, bad))),
		"bad text, then good":    message(name("anyone"), fact("text", bytes(valueText, bad), appendText(nil, valueText, "x"))),
		"bad key":                message(name("anyone"), bytes(requestKey, bad)),
		"bad id":                 message(name("anyone"), bytes(requestID, bad)),
		"bad decision":           bytes(requestDecision, bad),
		"bad fact, then another": message(name("anyone"), bytes(requestFacts), name("none")),
	}
}

func TestRequestOnTheWire(t *testing.T) {
	s := newService(t)
	for _, m := range requests() {
		checkRequest(t, s, encode(t, m))
	}
	for name, data := range oddities() {
		t.Run(name, func(t *testing.T) { checkRequest(t, s, data) })
	}
}

// FuzzRequest checks that what protobuf decodes is decoded alike, and what it refuses is
// refused.
func FuzzRequest(f *testing.F) {
	s := newService(f)
	for _, m := range requests() {
		f.Add(encode(f, m))
	}
	for _, data := range oddities() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkRequest(t, s, data) })
}

// TestLargeRequest is refused before anything of it is copied.
func TestLargeRequest(t *testing.T) {
	s := newService(t)
	x := s.newExchange()
	defer x.release()
	data := encode(t, &millracev1.DecideRequest{Decision: "anyone", Facts: []*millracev1.Fact{words("text", strings.Repeat("x", requestBytesMax))}})
	if err := x.UnmarshalWire(data); err != nil || codeOf(x.err) != codes.InvalidArgument || !strings.Contains(x.err.Error(), "at most 1048576") {
		t.Errorf("%v, %v", err, x.err)
	}
}

// decideWire is a request and its answer, decoded by generated code.
func decideWire(t *testing.T, s *Service, m *millracev1.DecideRequest, change func(*frontend.Answer)) (*millracev1.DecideResponse, []byte) {
	t.Helper()
	x := s.newExchange()
	x.inBand = true
	if err := x.UnmarshalWire(encode(t, m)); err != nil {
		t.Fatal(err)
	}
	x.decide(t.Context())
	if x.err == nil && change != nil {
		change(x.answer)
	}
	data := x.MarshalWire([]byte("before"))
	if !strings.HasPrefix(string(data), "before") {
		t.Fatal("what was in the buffer is gone")
	}
	data = data[len("before"):]
	got := new(millracev1.DecideResponse)
	if err := proto.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	if len(got.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("unknown fields %x", got.ProtoReflect().GetUnknown())
	}
	return got, data
}

// TestAnswerOnTheWire: every field of an answer arrives, encoded as generated code does.
func TestAnswerOnTheWire(t *testing.T) {
	s := newService(t)
	for name, a := range map[string]frontend.Answer{
		"nothing": {},
		"all": {
			PredictionID: "p", Decision: "block", Score: -0.25, Reasons: []policy.Reason{{Code: "A", Text: strings.Repeat("text ", 100)}, {}, {Code: "B"}},
			Segment: "s", Rule: "r", Model: "m", ModelVersion: math.MaxInt64, PolicyVersion: "pv", FeaturesVersion: "fv", Arm: "a", Propensity: 0.1,
			Degraded: true, DegradedReason: "why", Fallback: "f", Repeated: true,
			Values: []float64{math.Inf(-1), 0}, Statuses: []window.Status{window.Present, window.NotFound},
			FeaturesTime: 1, ModelTime: time.Second, TotalTime: time.Hour,
			Contributions: []float64{-0.5, math.NaN()}, Base: -1.5, Unattributed: "why not",
		},
		"no base":     {Contributions: []float64{0, 1}, Values: []float64{1, 2}, Statuses: []window.Status{window.Present, window.Present}},
		"odd numbers": {Score: math.Copysign(0, -1), Propensity: math.Inf(1), ModelVersion: -1, Values: []float64{1, 2}, Statuses: []window.Status{window.Null, window.OutsideMaxAge}},
	} {
		for _, explain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t", name, explain), func(t *testing.T) {
				got, data := decideWire(t, s, &millracev1.DecideRequest{Decision: "anyone", Facts: []*millracev1.Fact{number("number", 0.75)}, RequestId: "id", Explain: explain}, func(to *frontend.Answer) { *to = a })
				want := &millracev1.DecideResponse{
					PredictionId: a.PredictionID, RequestId: "id", Decision: a.Decision, Score: a.Score, Model: a.Model, ModelVersion: a.ModelVersion,
					PolicyVersion: a.PolicyVersion, FeaturesVersion: a.FeaturesVersion, Arm: a.Arm, Propensity: a.Propensity,
					Degraded: a.Degraded, DegradedReason: a.DegradedReason, Fallback: a.Fallback, Repeated: a.Repeated, Segment: a.Segment, Rule: a.Rule,
					FeaturesNanos: int64(a.FeaturesTime), ModelNanos: int64(a.ModelTime), TotalNanos: int64(a.TotalTime),
				}
				for _, r := range a.Reasons {
					want.Reasons = append(want.Reasons, &millracev1.Reason{Code: r.Code, Text: r.Text})
				}
				if explain && a.Values != nil {
					want.FeatureNames, want.FeatureValues = []string{"number", "whole"}, a.Values
					for _, status := range a.Statuses {
						want.FeatureStatuses = append(want.FeatureStatuses, byte(wireStatus[status]))
					}
				}
				if explain {
					want.Contributions, want.ContributionBase, want.Unattributed = a.Contributions, a.Base, a.Unattributed
				}
				if !proto.Equal(got, want) {
					t.Errorf("got\n%v, want\n%v", got, want)
				}
				if size := proto.Size(want); size != len(data) {
					t.Errorf("%d bytes, generated code takes %d", len(data), size)
				}
			})
		}
	}
}

// TestRefusalOnTheWire carries the request's id, wherever it stands.
func TestRefusalOnTheWire(t *testing.T) {
	s := newService(t)
	for want, m := range map[string]*millracev1.DecideRequest{
		`decision "none": no such decision`: {Decision: "none"},
		"facts.none":                        {Decision: "anyone", Facts: []*millracev1.Fact{number("none", 1)}},
		"user_id is required":               {Decision: "user", Facts: []*millracev1.Fact{number("amount", 1)}},
		"facts.text: given twice":           {Decision: "anyone", Facts: []*millracev1.Fact{words("text", "1"), words("text", "2")}},
	} {
		m.RequestId = "id"
		got, _ := decideWire(t, s, m, nil)
		code := codes.InvalidArgument
		if m.Decision == "none" {
			code = codes.NotFound
		}
		if got.RequestId != "id" || !strings.Contains(got.Error, want) || codes.Code(got.ErrorCode) != code || got.PredictionId != "" {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// TestRefusalInNoText: clients can read a message whatever a backend says.
func TestRefusalInNoText(t *testing.T) {
	s := newService(t)
	x := s.newExchange()
	x.err = errors.New("bad \xff\xfe byte")
	got := new(millracev1.DecideResponse)
	if err := proto.Unmarshal(x.MarshalWire(nil), got); err != nil || got.Error != "bad \ufffd byte" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestCodes of errors.
func TestCodes(t *testing.T) {
	for err, want := range map[error]codes.Code{
		frontend.ErrInvalid: codes.InvalidArgument, frontend.ErrUnknown: codes.NotFound, frontend.ErrUnavailable: codes.Unavailable, frontend.ErrClosed: codes.Unavailable,
		context.Canceled: codes.Canceled, context.DeadlineExceeded: codes.DeadlineExceeded, errors.New("else"): codes.Internal,
	} {
		if got := codeOf(fmt.Errorf("somewhere: %w", err)); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}
