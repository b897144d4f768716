// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"math"
	"strings"
)

// requestParameters are the parameters of a request that the server acts on.
// Unknown ones are accepted and have no effect, as the protocol asks.
type requestParameters struct {
	priority           uint64
	timeoutMicros      uint64
	emptyFinalResponse bool
	// bad is the first parameter that is at fault. It is reported when the model
	// is known, in the protocol's order of checks.
	bad string
}

// parameterValue is one InferParameter: which choice is set, and its value.
type parameterValue struct {
	choice int // field number, 0 when none is set
	number uint64
	text   []byte
}

// Field numbers of InferParameter's choices.
const (
	boolParam   = 1
	int64Param  = 2
	stringParam = 3
	doubleParam = 4
	uint64Param = 5
)

// parameterTypes says which choices each known request parameter may use.
var parameterTypes = map[string]struct {
	allowed []int
	expects string
}{
	"sequence_id":                        {[]int{int64Param, stringParam}, "int64_param or string_param"},
	"sequence_start":                     {[]int{boolParam}, "bool_param"},
	"sequence_end":                       {[]int{boolParam}, "bool_param"},
	"priority":                           {[]int{int64Param, uint64Param}, "int64_param or uint64_param"},
	"timeout":                            {[]int{int64Param}, "int64_param"},
	"triton_enable_empty_final_response": {[]int{boolParam}, "bool_param"},
}

const (
	reservedPrefix         = "triton_"
	sharedMemoryPrefix     = "shared_memory_"
	emptyFinalResponseName = "triton_enable_empty_final_response"
)

// decodeEntry reads one entry of a request's parameters map.
func (p *requestParameters) decodeEntry(message []byte) error {
	name, value, err := decodeParameter(message)
	if err != nil {
		return err
	}
	p.set(string(name), value)
	return nil
}

// set applies one parameter, or notes what is wrong with it.
func (p *requestParameters) set(name string, value parameterValue) {
	if p.bad != "" {
		return
	}
	known, ok := parameterTypes[name]
	if !ok {
		p.checkUnknown(name, value)
		return
	}
	if !contains(known.allowed, value.choice) {
		quoted := "'" + name + "' parameter"
		p.bad = "invalid value type for " + quoted + ", expected " + known.expects + "."
		return
	}
	switch name {
	case "priority":
		if value.choice == int64Param && int64(value.number) < 0 {
			p.bad = "invalid value for 'priority', expected value >= 0."
			return
		}
		p.priority = value.number
	case "timeout":
		p.timeoutMicros = value.number
	case emptyFinalResponseName:
		p.emptyFinalResponse = value.number != 0
	}
}

func (p *requestParameters) checkUnknown(name string, value parameterValue) {
	if strings.HasPrefix(name, reservedPrefix) {
		p.bad = "parameter keys starting with 'triton_' are reserved for Triton usage. " +
			"Only the following keys starting with 'triton_' are allowed: " + emptyFinalResponseName
		return
	}
	if value.choice == 0 {
		p.bad = "invalid value type for '" + name + "' parameter, expected int64_param, bool_param, or string_param."
	}
}

func contains(choices []int, choice int) bool {
	for _, c := range choices {
		if c == choice {
			return true
		}
	}
	return false
}

// decodeParameter reads one entry of a map from names to InferParameter.
func decodeParameter(message []byte) (name []byte, value parameterValue, err error) {
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err != nil {
			return nil, value, err
		}
		message = rest
		switch {
		case f.number == 1 && f.kind == wireBytes:
			name = f.bytes
		case f.number == 2 && f.kind == wireBytes:
			if value, err = decodeParameterValue(f.bytes); err != nil {
				return nil, value, err
			}
		}
	}
	return name, value, nil
}

func decodeParameterValue(message []byte) (value parameterValue, err error) {
	for len(message) > 0 {
		f, rest, err := nextField(message)
		if err != nil {
			return value, err
		}
		message = rest
		if f.number >= boolParam && f.number <= uint64Param {
			value = parameterValue{choice: f.number, number: f.varint, text: f.bytes}
		}
	}
	return value, nil
}

// checkInputParameter refuses the parameters of an input that would change what
// its data is. Shared memory is not served.
func checkInputParameter(message []byte) error {
	name, _, err := decodeParameter(message)
	if err != nil {
		return err
	}
	if strings.HasPrefix(string(name), sharedMemoryPrefix) {
		return errSharedMemory
	}
	return nil
}

// decodeParameter reads one parameter of a requested output.
func (o *requestOutput) decodeParameter(message []byte) error {
	name, value, err := decodeParameter(message)
	if err != nil {
		return err
	}
	if string(name) == "classification" {
		return o.setClassification(value)
	}
	if strings.HasPrefix(string(name), sharedMemoryPrefix) {
		return errSharedMemory
	}
	return nil
}

// setClassification notes how many classes are asked for.
func (o *requestOutput) setClassification(value parameterValue) error {
	if value.choice != int64Param {
		return invalidArgument("invalid value type for 'classification' parameter, expected int64_param")
	}
	if n := int64(value.number); n <= 0 || n > math.MaxInt32 {
		return invalidArgument("invalid value for 'classification' parameter, expected >= 0")
	}
	o.classification = int64(value.number)
	return nil
}
