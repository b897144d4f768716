// SPDX-License-Identifier: Apache-2.0

// Package client calls a Millrace server: decisions, features, events and inference.
//
//	c, err := client.Dial(ctx, "localhost:8001", client.Options{})
//	d, err := c.Decide(ctx, client.NewDecide("card_payment").Int("customer_id", 7).Float("amount", 12.5))
//
// # What is promised
//
//	C1  Every call has a deadline: the context's, or else the default of its kind.
//	C2  A call is repeated only when a repeat can do no harm: reads and inference always,
//	    decisions with an idempotency key, pushes whose events have ids; and only after
//	    Unavailable or ResourceExhausted. All other errors come back at once.
//	C3  Repeats are bounded three times: by Options.Attempts, by the deadline (a wait that
//	    would pass it is not begun), and by a budget that all calls of a client share, so
//	    that repeats are at most a share of the calls however ill the server is.
//	C4  What is answered belongs to the caller. A request may be used again, also by many
//	    calls at once, as long as nobody changes it.
//	C5  Whatever waits in a stream is bounded; a full stream makes its callers wait, until
//	    their context ends. Every event of a push stream has exactly one outcome.
//
// Waits between attempts grow exponentially with full jitter: uniform between zero and
// min(BackoffMax, Backoff*2^n), as in "Exponential Backoff And Jitter" of the AWS
// Architecture Blog. The budget is the token bucket of gRPC's retry throttling (gRFC A6)
// with whole calls in place of successes.
//
// # Concurrency
//
// A Client and its streams may be used from many goroutines; a request or an Event by one
// at a time while it is built. The goroutines of a stream end with it, all of them with
// Client.Close.
package client
