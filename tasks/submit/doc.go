// Package submit is the driver of the submitter's side: it owns jobs, their clocks and the sessions that workers open,
// feeds what happens to the pure core in tasks/job, and does what that asks for.
//
// One goroutine owns the state (Driver.Serve); every session has one reader and one writer. The loop takes everything
// that has come, steps the jobs, hands out leases, and then gives each session's writer all there is for it, so that
// batches are as large as the load makes them and no timer stands between an event and its answer. What must be on
// stable storage before it takes effect (an accepted job, a verdict, a merge, an end) is stepped by the log's callback.
package submit
