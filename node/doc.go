// Package node joins the parts of Kith into one running node, and is the only place that does: storage, the network,
// the drivers of both sides of the work, the owner's word and the local API. New opens what is quick and makes the
// local page answer; Serve opens the rest in the order in which parts need one another, supervises what runs, and
// closes it in reverse, bounded in time, the store last.
package node

// Version is this program's version; the linker sets it.
var Version = "dev"

// RunnerArg is the only argument of the child process in which tasks run.
const RunnerArg = "runner"

// ProbeArg is the first argument of the child process in which this machine is measured; grading.Child gets the rest.
const ProbeArg = "internal-probe"
