// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	"github.com/millrace-ml/millrace/serving"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// exchange is one decision on the wire: the request is decoded straight into the
// facts of a frontend.Request, and the answer encoded straight from its memory, where
// generated messages would allocate some twenty objects. It is a serving.Message, so
// it needs that server's codec.
type exchange struct {
	frontend  *frontend.Frontend
	request   *frontend.Request // nil if the decision is unknown
	requestID []byte
	// key and given are the idempotency key and the value of a fact, while decoding.
	key    []byte
	given  wireValue
	answer *frontend.Answer
	// err is why there is no answer.
	err error
	// inBand sends err as a message, as streams do.
	inBand bool
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

var _ serving.Message = (*exchange)(nil)

func (s *Service) newExchange() *exchange {
	x := exchanges.Get().(*exchange)
	x.frontend = s.frontend
	return x
}

func (x *exchange) release() {
	if x.request != nil {
		x.request.Release()
	}
	*x = exchange{requestID: x.requestID[:0]}
	exchanges.Put(x)
}

// requestBytesMax bounds a request as bodyBytesMax does in JSON: the server's messages
// may be as large as tensors are, and a stream holds streamAhead requests.
const requestBytesMax = bodyBytesMax

// Field numbers of DecideRequest, Fact and Value.
const (
	requestDecision = 1
	requestFacts    = 2
	requestKey      = 3
	requestID       = 4
	requestExplain  = 5

	factName  = 1
	factValue = 2

	valueNumber  = 1
	valueInteger = 2
	valueText    = 3
	valueBool    = 4
)

var errMalformed = fmt.Errorf("%w: malformed DecideRequest", frontend.ErrInvalid)

// UnmarshalWire implements serving.Message. A request that cannot be answered is no
// error here: the handler answers it with a code of its own.
func (x *exchange) UnmarshalWire(data []byte) error {
	if len(data) > requestBytesMax {
		x.err = fmt.Errorf("%w: the request has %d bytes, at most %d", frontend.ErrInvalid, len(data), requestBytesMax)
		return nil
	}
	decision, err := findDecision(data)
	if err == nil {
		x.request, err = x.frontend.NewRequest(decision)
	}
	x.err = err
	for len(data) > 0 && (x.err == nil || x.inBand) {
		number, kind, n := consumeTag(data)
		if n < 0 {
			x.err = errMalformed
			return nil
		}
		size := protowire.ConsumeFieldValue(number, kind, data[n:])
		if size < 0 {
			x.err = errMalformed
			return nil
		}
		x.field(number, kind, data[n:n+size])
		data = data[n+size:]
	}
	if x.err == nil {
		x.err = x.request.SetKey(string(x.key))
	}
	x.key, x.given = nil, wireValue{}
	return nil
}

// consumeTag is protowire.ConsumeTag, which lets numbers pass that protobuf refuses.
func consumeTag(data []byte) (protowire.Number, protowire.Type, int) {
	number, kind, n := protowire.ConsumeTag(data)
	if number > protowire.MaxValidNumber {
		n = -1
	}
	return number, kind, n
}

// field takes one field of the request, whose sound encoding has been checked. One of
// another wire type than it should be is unknown, as protobuf has it.
func (x *exchange) field(number protowire.Number, kind protowire.Type, value []byte) {
	if kind == protowire.BytesType {
		value, _ = protowire.ConsumeBytes(value)
	}
	switch {
	case number == requestID && kind == protowire.BytesType:
		if err := checkText("request_id", value); err != nil {
			x.err = cmp.Or(x.err, err)
			return
		}
		x.requestID = append(x.requestID[:0], value...)
	case x.err != nil: // only the request's id is still of use
	case number == requestDecision && kind == protowire.BytesType:
		if text(value) != x.request.Policy().Name {
			x.err = fmt.Errorf("%w: decision: given twice", frontend.ErrInvalid)
		}
	case number == requestFacts && kind == protowire.BytesType:
		x.err = x.fact(value)
	case number == requestKey && kind == protowire.BytesType:
		x.key, x.err = value, checkText("idempotency_key", value)
	case number == requestExplain && kind == protowire.VarintType:
		v, _ := protowire.ConsumeVarint(value)
		x.request.Explain = v != 0
	}
}

// findDecision finds the name, which may come behind the facts. It refers to data.
func findDecision(data []byte) (string, error) {
	for len(data) > 0 {
		number, kind, n := consumeTag(data)
		if n < 0 {
			return "", errMalformed
		}
		size := protowire.ConsumeFieldValue(number, kind, data[n:])
		if size < 0 {
			return "", errMalformed
		}
		if number == requestDecision && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(data[n:])
			return text(value), nil // first, where every client puts it
		}
		data = data[n+size:]
	}
	return "", nil
}

// text is a text that refers to bytes, for what does not keep it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// checkText holds a text to what protobuf demands of it.
func checkText(path string, v []byte) error {
	if utf8.Valid(v) {
		return nil
	}
	return fmt.Errorf("%w: %s: is not UTF-8", frontend.ErrInvalid, path)
}

// fact sets one fact.
func (x *exchange) fact(data []byte) error {
	var name []byte
	x.given = wireValue{}
	for len(data) > 0 {
		number, kind, n := consumeTag(data)
		if n < 0 {
			return errMalformed
		}
		size := protowire.ConsumeFieldValue(number, kind, data[n:])
		if size < 0 {
			return errMalformed
		}
		if kind == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(data[n:])
			var err error
			switch number {
			case factName:
				name, err = content, checkText("facts", content)
			case factValue:
				err = x.given.merge(content)
			}
			if err != nil {
				return err
			}
		}
		data = data[n+size:]
	}
	return x.set(text(name))
}

// wireValue is a Value: which kind it has, 0 for none, and the encoding of that.
type wireValue struct {
	number protowire.Number
	last   []byte
}

// merge takes an encoded Value; the last kind of several counts, as protobuf has it.
func (v *wireValue) merge(data []byte) error {
	for len(data) > 0 {
		number, kind, n := consumeTag(data)
		if n < 0 {
			return errMalformed
		}
		size := protowire.ConsumeFieldValue(number, kind, data[n:])
		if size < 0 {
			return errMalformed
		}
		if kind == valueKind(number) {
			v.number, v.last = number, data[n:n+size]
		}
		if number == valueText && kind == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(v.last)
			if err := checkText("facts: a text", content); err != nil {
				return err
			}
		}
		data = data[n+size:]
	}
	return nil
}

// valueKind is the wire type of a field of Value, -1 for others.
func valueKind(number protowire.Number) protowire.Type {
	switch number {
	case valueNumber:
		return protowire.Fixed64Type
	case valueInteger, valueBool:
		return protowire.VarintType
	case valueText:
		return protowire.BytesType
	}
	return -1
}

// set sets a fact to the value given.
func (x *exchange) set(name string) error {
	switch value := x.given.last; x.given.number {
	case valueNumber:
		bits, _ := protowire.ConsumeFixed64(value)
		return x.request.SetNumber(name, math.Float64frombits(bits))
	case valueInteger:
		v, _ := protowire.ConsumeVarint(value)
		return x.request.SetInt(name, protowire.DecodeZigZag(v))
	case valueText:
		v, _ := protowire.ConsumeBytes(value)
		return x.request.SetText(name, string(v))
	case valueBool:
		v, _ := protowire.ConsumeVarint(value)
		return x.request.SetBool(name, v != 0)
	}
	return x.request.SetNull(name)
}

// decide answers the request that was decoded.
func (x *exchange) decide(ctx context.Context) {
	if x.err == nil {
		x.answer, x.err = x.frontend.Decide(ctx, x.request)
	}
}

// MarshalWire implements serving.Message.
func (x *exchange) MarshalWire(b []byte) []byte {
	if x.err != nil {
		b = appendBytes(b, 2, x.requestID)
		b = appendText(b, 21, strings.ToValidUTF8(x.err.Error(), "\ufffd")) // a backend may say anything
		b = appendInt(b, 22, uint64(codeOf(x.err)))
	} else {
		b = x.appendAnswer(b)
	}
	x.release()
	return b
}

// appendAnswer appends a DecideResponse.
func (x *exchange) appendAnswer(b []byte) []byte {
	a := x.answer
	b = appendText(b, 1, a.PredictionID)
	b = appendBytes(b, 2, x.requestID)
	b = appendText(b, 3, a.Decision)
	b = appendNumber(b, 4, a.Score)
	for _, r := range a.Reasons {
		b = protowire.AppendTag(b, 5, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(textSize(1, r.Code)+textSize(2, r.Text)))
		b = appendText(b, 1, r.Code)
		b = appendText(b, 2, r.Text)
	}
	b = appendText(b, 6, a.Model)
	b = appendInt(b, 7, uint64(a.ModelVersion))
	b = appendText(b, 8, a.PolicyVersion)
	b = appendText(b, 9, a.FeaturesVersion)
	b = appendText(b, 10, a.Arm)
	b = appendNumber(b, 11, a.Propensity)
	b = appendBool(b, 12, a.Degraded)
	b = appendText(b, 13, a.DegradedReason)
	b = appendText(b, 14, a.Fallback)
	b = appendBool(b, 15, a.Repeated)
	b = appendText(b, 16, a.Segment)
	b = appendText(b, 17, a.Rule)
	if x.request.Explain && len(a.Values) > 0 {
		b = x.appendVector(b)
	}
	b = appendInt(b, 23, uint64(a.FeaturesTime))
	b = appendInt(b, 24, uint64(a.ModelTime))
	b = appendInt(b, 25, uint64(a.TotalTime))
	if x.request.Explain {
		b = x.appendContributions(b)
	}
	return b
}

// appendContributions appends what the features added to the score, or why that is unknown.
func (x *exchange) appendContributions(b []byte) []byte {
	a := x.answer
	if len(a.Contributions) > 0 {
		b = appendNumbers(b, 26, a.Contributions)
		b = appendNumber(b, 27, a.Base)
	}
	return appendText(b, 28, a.Unattributed)
}

// appendVector appends names, values and statuses.
func (x *exchange) appendVector(b []byte) []byte {
	for _, f := range x.request.Policy().Service.Features {
		b = appendText(b, 18, f.Name)
	}
	b = appendNumbers(b, 19, x.answer.Values)
	b = protowire.AppendTag(b, 20, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(x.answer.Statuses)))
	for _, s := range x.answer.Statuses {
		b = append(b, byte(wireStatus[s]))
	}
	return b
}

// Values that are zero are left out, as proto3 has it.

func appendText(b []byte, number protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), v)
}

func textSize(number protowire.Number, v string) int {
	if v == "" {
		return 0
	}
	return protowire.SizeTag(number) + protowire.SizeBytes(len(v))
}

func appendBytes(b []byte, number protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
}

func appendNumber(b []byte, number protowire.Number, v float64) []byte {
	if v == 0 && !math.Signbit(v) {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, number, protowire.Fixed64Type), math.Float64bits(v))
}

func appendNumbers(b []byte, number protowire.Number, values []float64) []byte {
	b = protowire.AppendTag(b, number, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(8*len(values)))
	for _, v := range values {
		b = protowire.AppendFixed64(b, math.Float64bits(v))
	}
	return b
}

func appendInt(b []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

func appendBool(b []byte, number protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return appendInt(b, number, 1)
}

// decideUnary handles Decide with an exchange in place of generated messages.
func decideUnary(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	x := srv.(*Service).newExchange()
	if err := decode(x); err != nil {
		x.release()
		return nil, err
	}
	x.decide(ctx)
	if x.err != nil {
		err := status.Error(codeOf(x.err), x.err.Error())
		x.release()
		return nil, err
	}
	return x, nil
}

// serviceDesc is the generated description with the handlers of the hot path in place
// of the generated ones.
func serviceDesc() *grpc.ServiceDesc {
	desc := millracev1.Decisions_ServiceDesc
	methods := make([]grpc.MethodDesc, len(desc.Methods))
	copy(methods, desc.Methods)
	for i := range methods {
		if methods[i].MethodName == "Decide" {
			methods[i].Handler = decideUnary
		}
	}
	streams := make([]grpc.StreamDesc, len(desc.Streams))
	copy(streams, desc.Streams)
	for i := range streams {
		if streams[i].StreamName == "StreamDecide" {
			streams[i].Handler = decideStream
		}
	}
	desc.Methods, desc.Streams = methods, streams
	return &desc
}
