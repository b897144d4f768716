// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/console"

// showAudit gives the console what was decided about models.
func (u *up) showAudit(o *console.Options) {
	o.Promotions = promotionTrail{u.project.State}
}

// trail is the project's audit trail, by its clock where a replay moves that.
func (u *up) trail() *auditTrail {
	a := &auditTrail{state: u.project.State}
	if u.replay != nil {
		a.now = u.clock.now
	}
	return a
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
