// Package api is the node's face on this machine: HTTP and server-sent events on loopback, for the page and for the
// kith command. Nothing else in Kith listens for HTTP.
//
// # Who may call
//
// Every request must name a loopback host (Host header: 127.0.0.1, localhost or [::1], with our port), so that a web
// site cannot reach the node by rebinding its own name. A request that carries an Origin must carry ours. Every path
// but /live and /ready needs the token of this run: as "Authorization: Bearer TOKEN", which the command reads from
// api.json in the data folder (mode 0600), or as the cookie the page gets by opening /?token=TOKEN once
// (HttpOnly, SameSite=Strict). Requests that change something must be application/json, or have no body.
//
// # Shapes
//
// The types in shapes.go are the whole vocabulary; testdata/*.json shows an example of each, and a test holds them to
// it. Times are Unix milliseconds, sizes bytes, ids text (node, job, task and lease ids 52 letters, CIDs "b…").
// Lists are never null. Unknown fields in a request are refused.
//
//	GET   /live                        200 as soon as the process listens
//	GET   /ready                       200 once the node can take jobs, else 503
//	GET   /api/v1/status               Status
//	GET   /api/v1/peers                []Peer
//	GET   /api/v1/jobs                 []Job, newest first
//	POST  /api/v1/jobs                 Submit → JobDetail (201). With "Accept: application/x-ndjson": lines of
//	                                   SubmitLine while the input is read, the last one with the job or the error
//	GET   /api/v1/jobs/{id}            JobDetail; {id} may be any unambiguous beginning of an id, at least 4 letters
//	GET   /api/v1/jobs/{id}/explain    Explanation: what it waits for and why
//	POST  /api/v1/jobs/{id}/cancel     JobDetail
//	GET   /api/v1/jobs/{id}/result     the result's files as a tar stream
//	POST  /api/v1/jobs/{id}/export     Export → Exported: writes the files into a new or empty folder of this machine
//	GET   /api/v1/kinds                []Kind
//	GET   /api/v1/bench                grading.Report: what this machine was measured to be, judged, with the formula
//	POST  /api/v1/bench                grading.Request → grading.Report: measures now, 10 or 90 seconds. With "Accept:
//	                                   application/x-ndjson": lines of BenchLine, the last one with the report or the error
//	POST  /api/v1/pause|resume|kill    Owner
//	POST  /api/v1/snooze               Snooze → Owner
//	GET   /api/v1/notices              []Notice: orders of the network's stewards, newest first
//	POST  /api/v1/notices              PublishNotice → Notice
//	GET   /api/v1/config               []Setting
//	PATCH /api/v1/config               {"key": "value", …} → ConfigChange; all or nothing; "" sets the default again
//	POST  /api/v1/config/undo|redo     ConfigChange
//	GET   /api/v1/work/why             Why: why this node gets no work, or why it is fine
//	GET   /api/v1/receipts             []Receipt, newest first; ?job=ID, ?limit=N (default 100, at most 10,000)
//	GET   /api/v1/evidence             []Evidence
//	GET   /api/v1/evidence/bundle      wire.Bundle: receipts and proofs with their signatures; ?job=ID
//	POST  /api/v1/login                {"url"}: an address that opens the page in one browser, once
//	GET   /api/v1/events               server-sent events: see Stream
//
// # Errors
//
// A refusal is a JSON Failure {"error","code","remedy"} with the status that failure.go chooses for the code.
//
// # Stream
//
// /api/v1/events first sends one event of each name, then each again when it changes, at most four times a second. The
// data of "status" is Status, of "peers" []Peer, of "jobs" []Job, of "imports" []Import (inputs being read in). A
// comment line every 15 s keeps the connection open; after a gap a client just connects again.
package api
