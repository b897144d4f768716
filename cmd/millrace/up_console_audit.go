// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/serving/access"
)

// showAudit gives the console what was decided about models.
func (u *up) showAudit(o *console.Options) {
	o.Promotions = promotionTrail{u.project.State}
}

// newTrail makes the project's audit trail, by its clock where a replay moves that.
func (u *up) newTrail() *auditTrail {
	a := &auditTrail{state: u.project.State}
	if u.replay != nil {
		a.now = u.clock.now
	}
	return a
}

// changed puts a change of a model that came over the ports, by the owner of a token, into
// the trail. What the console changes itself, and what pipelines decide, is there already.
func (u *up) changed(c access.Changed) {
	e := console.Entry{Time: time.Now().UTC(), Who: c.By, Action: changeAction(c.Call), Subject: c.Model, Detail: changeDetail(&c),
		Link: "/console/models/" + url.PathEscape(c.Model)}
	if c.Err != nil {
		e.Error = status.Convert(c.Err).Message()
	}
	if err := u.audit.Append(e); err != nil {
		u.log.Error("a change is not in the audit trail", "by", c.By, "call", c.Call, "model", c.Model, "error", err)
	}
}

// changeAction is the verb of a call: swap, load, unload, rollback, alias.
func changeAction(call string) string {
	name := strings.ToLower(call[strings.LastIndexByte(call, '/')+1:])
	for _, around := range []string{"repositorymodel", "set"} {
		name = strings.TrimPrefix(name, around)
	}
	return strings.TrimSuffix(name, "version")
}

// changeDetail is which version was asked for, and what came of it, as far as the messages
// of the call have it.
func changeDetail(c *access.Changed) string {
	var parts []string
	if q, ok := c.Request.(interface{ GetAlias() string }); ok {
		parts = append(parts, q.GetAlias()+" is")
	}
	moved, ok := c.Answer.(interface {
		GetFromVersion() int64
		GetToVersion() int64
	})
	if ok && c.Err == nil {
		return fmt.Sprintf("version %d in place of %d", moved.GetToVersion(), moved.GetFromVersion())
	}
	if q, ok := c.Request.(interface{ GetVersion() int64 }); ok && q.GetVersion() != 0 {
		parts = append(parts, fmt.Sprintf("version %d", q.GetVersion()))
	}
	return strings.Join(parts, " ")
}

// promotionTrail are the promotions of a state folder.
type promotionTrail struct{ state string }

// Promotions implements console.Promotions.
func (t promotionTrail) Promotions() ([]console.Promotion, error) {
	records, err := readPromotions(t.state)
	if err != nil {
		return nil, err
	}
	all := make([]console.Promotion, len(records))
	for i, p := range records {
		all[i] = console.Promotion{
			Time: p.Time, ProjectTime: p.ProjectTime, Model: p.Model, Version: p.Version, Previous: p.Previous, SHA256: p.SHA256, Promoted: p.Decision == decisionPromoted,
			By: p.By, Alarm: p.Alarm, Run: p.Run, Verdict: p.Verdict, Reasons: p.Reasons, Rollback: p.Rollback,
		}
	}
	return all, nil
}
