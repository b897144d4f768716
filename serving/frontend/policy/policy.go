// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// Limits of a policy file and what it holds. More is refused.
const (
	fileBytesMax   = 512 << 10
	decisionsMax   = 1000
	answersMax     = 64
	rulesMax       = 1000 // of each list
	segmentsMax    = 100
	thresholdsMax  = 100 // of each segment
	armsMax        = 64
	shadowsMax     = 8
	reasonsMax     = 1000
	requestMax     = 256
	valuesMax      = 1000
	explainMax     = 32
	codesMax       = 1000
	explainDefault = 4
	nameBytesMax   = 128
	textBytesMax   = 4 << 10
	ttlDefault     = 24 * time.Hour
	ttlMax         = 30 * 24 * time.Hour
	budgetMax      = time.Minute
	budgetMin      = 100 * time.Microsecond
)

// Policy is a compiled decision. It is immutable.
type Policy struct {
	Name, Description string
	// File and Line are where it is written, for messages.
	File string
	Line int
	// Service gives the features.
	Service *definition.Service
	// Event is the push source that a request is also an event of; nil for none.
	Event *Event
	// Facts are what a request gives, the first places of an environment: the keys of the
	// service's entities, the service's request, the policy's own request. What the event's
	// source demands of a field is demanded here too. The fields are never Late.
	Facts []definition.Field
	// Keys and ServiceFacts say how many of Facts are keys, and keys or the service's.
	Keys, ServiceFacts int
	// Unit is the place of the fact that an experiment treats alike, of type Int64 or
	// String and required; -1 for none.
	Unit int
	// Idempotency is the place of the fact that tells a repeated request, of type Int64 or
	// String; -1 if only the client's own key does. TTL is how long an answer is remembered.
	Idempotency int
	TTL         time.Duration
	// Budget bounds the time.
	Budget Budget
	// Decisions are all that may be answered, in the order of the file.
	Decisions []string
	// Arms are those of the experiment. There is at least one: without an experiment it
	// has no name and a share of 1.
	Arms []Arm
	// Shadows are models run beside, whose scores are logged and never answered.
	Shadows []Shadow
	// Ladder are the fallback's steps. Empty: a request fails where features or model do.
	Ladder []Step
	// ExplainMax bounds the reasons of an answer.
	ExplainMax int
	// Attributions make reasons of what features add to a score; nil for none.
	Attributions *Attributions

	reasons  []Reason
	before   []rule
	segments []segment
	after    []rule
	explain  []explanation
	salt     uint64
	saltText string

	env      []expression.Field
	places   map[string]int
	features int // place of the first feature
	checks   []check
	nulls    []nullText
	version  string
	fields   []meaning
}

// Budget is how long a decision and its parts may take; 0 is no bound of its own.
type Budget struct {
	Total, Features, Model time.Duration
}

// Model says which output of which model is the score.
type Model struct {
	Name string
	// Version is a number or an alias; empty is the current version.
	Version string
	// Output names the output; empty is the only one.
	Output string
	// Class is the place of the score in a row of the output; -1 if it has one element.
	Class int
}

// Arm is one of an experiment's treatments.
type Arm struct {
	Name string
	// Share is the probability that a unit is in the arm, a multiple of 1/10000.
	Share float64
	// Model is the model to run.
	Model Model

	upTo       uint64 // buckets below it, and not below the arm before, are the arm's
	thresholds [][]threshold
}

// Shadow is a model run beside on a share of the requests.
type Shadow struct {
	Model Model
	// Share is a multiple of 1/10000.
	Share float64

	below, salt uint64
}

// Event says how a request becomes an event of a push source.
type Event struct {
	Source *definition.Source
	// Facts has, for each field of the source, the place of the fact that fills it; -1 leaves
	// it null, but for the timestamp, which is then the moment that the features are asked
	// for, and the arrival, which is now. A source's id is always filled from a fact, unless
	// the source has no id field.
	Facts []int
}

// StepKind is what a step of the fallback does.
type StepKind uint8

// The kinds of steps.
const (
	// PreviousVersion runs the model's previous version and decides as usual. It is for
	// the caller: Policy.Fallback answers false.
	PreviousVersion StepKind = iota + 1
	// Rules asks rules; the first match answers.
	Rules
	// Default always answers.
	Default
)

var stepNames = [...]string{PreviousVersion: "previous_version", Rules: "rules", Default: "default"}

// String is the kind's name in policy files.
func (k StepKind) String() string {
	if k == 0 || int(k) >= len(stepNames) {
		return "unknown"
	}
	return stepNames[k]
}

// Step is a step of the fallback.
type Step struct {
	Kind StepKind

	rules []rule
}

// Reason tells a person why.
type Reason struct {
	Code, Text string
}

// rule answers where its condition holds; without a condition, always.
type rule struct {
	name     string
	when     *expression.Program
	decision int
	reason   int // place in Policy.reasons, -1 for none
}

type segment struct {
	name string
	when *expression.Program
}

// threshold is reached by scores from it on; a row of them descends, and ends at -Inf.
type threshold struct {
	from     float64
	decision int
	reason   int
}

type explanation struct {
	when   *expression.Program
	reason int
}

// Version is a short hash of what the policy means: 12 hexadecimal digits.
func (p *Policy) Version() string { return p.version }

// Place returns the place of a fact by name, -1 if a request has none of that name.
func (p *Policy) Place(fact string) int {
	if i, ok := p.places[fact]; ok {
		return i
	}
	return -1
}

// FeaturePlace returns the place of the first feature of the service; the others follow.
func (p *Policy) FeaturePlace() int { return p.features }

// Reasons returns all reasons that the policy may give, by code.
func (p *Policy) Reasons() []Reason { return slices.Clone(p.reasons) }

// Env returns what conditions may name, by place: facts, features, then score, decision,
// segment and arm. A feature that repeats a fact of the same name is hidden behind it
// and has a name that cannot be written.
func (p *Policy) Env() []expression.Field { return slices.Clone(p.env) }
