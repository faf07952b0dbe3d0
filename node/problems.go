package node

import "kith/node/health"

// The lasting problems a node can have.
var (
	portMoved = &health.Warnable{
		Code: "api-port-taken", Severity: health.Low, Title: "The page has another port",
		Text: "Another program holds the first port of api.ports, so the page is at %s.", Remedy: "Nothing to do, or set api.ports to a free port.",
	}
	listenMoved = &health.Warnable{
		Code: "listen-port-taken", Severity: health.Low, Title: "This node listens on another port",
		Text: "Another program holds port %d, so other nodes reach this one at port %d.", Remedy: "Nothing to do, or set listen.ports to a free port and, at a router, forward that.",
	}
	diskFilling = &health.Warnable{
		Code: "disk-nearly-full", Severity: health.Medium, Title: "The disk is nearly full",
		Text: "%d %% of the disk is used; at %d %% no new work is taken.", Remedy: "Free some space, or lower storage.quota.",
	}
	diskFull = &health.Warnable{
		Code: "disk-full", Severity: health.High, Title: "The disk is full",
		Text: "%d %% of the disk is used, so no new work is taken.", Remedy: "Free some space, or raise storage.diskStop if you must.",
	}
	guardOff = &health.Warnable{
		Code: "disk-guard-off", Severity: health.Medium, Title: "The disk guard is off",
		Text: "You switched it off until %s: work is taken however full the disk is.", Remedy: "kith space --override off switches it on again.",
	}
	overQuota = &health.Warnable{
		Code: "over-quota", Severity: health.Medium, Title: "More data than allowed",
		Text: "The %s take %d MB, %d MB are allowed, so no new work is taken.", Remedy: "kith space says what would go, or raise the setting.",
	}
	driveLowered = &health.Warnable{
		Code: "drive-throttled", Severity: health.Medium, Title: "A drive is used less than it could be",
		Text: "%s: %s. It gets back what it had once it has been quiet.", Remedy: "kith drives tells its story; look at its cable and power, and test it with kith soak.",
	}
	driveFailing = &health.Warnable{
		Code: "drive-failing", Severity: health.High, Title: "A drive is failing",
		Text: "%s: %s. No new work is taken.", Remedy: "Save what is on it and replace it; kith drives tells its story.",
	}
	noBootstrap = &health.Warnable{
		Code: "no-peers", Severity: health.Medium, Title: "No other node answers",
		Text: "%s", Remedy: "Check the network and peers.bootstrap; kith id on another node prints its address.",
	}
	clockWrong = &health.Warnable{
		Code: "clock-skew", Severity: health.High, Title: "The clock is wrong",
		Text: "The clock jumped by %s. Others refuse messages that are more than five minutes off.", Remedy: "Set the clock, best by the system's time service.",
	}
	logRecovered = &health.Warnable{
		Code: "log-recovered", Severity: health.Low, Title: "The last stop was not a clean one",
		Text: "%d unfinished bytes at the end of %s were dropped; nothing that was promised is lost.", Remedy: "Nothing to do. If it happens often, look at the power supply and the disk.",
	}
	switchDamaged = &health.Warnable{
		Code: "owner-switch-damaged", Severity: health.Medium, Title: "Paused, to be safe",
		Text: "%v", Remedy: "kith resume writes it anew, if you want work to run.",
	}
	sandboxBroken = &health.Warnable{
		Code: "sandbox-broken", Severity: health.High, Title: "No work is taken: the sandbox does not hold",
		Text: "The node attacked its own sandbox, and it was not held, or could not be tried: %s.", Remedy: "Restart the node; if it stays so, report it with the node's log.",
	}
	sandboxThin = &health.Warnable{
		Code: "sandbox-thin", Severity: health.Medium, Title: "Only some kinds of work are taken",
		Text: "Tasks run in %s. For more: %s.", Remedy: "Do as the text says, and restart the node.",
	}
	sandboxSampled = &health.Warnable{
		Code: "sandbox-sampled", Severity: health.Low, Title: "Limits of tasks are kept by sampling",
		Text: "Tasks run in %s. For exact limits: %s.", Remedy: "Do as the text says, or nothing: tasks are confined all the same.",
	}
	sandboxBare = &health.Warnable{
		Code: "sandbox-bare", Severity: health.Low, Title: "A wall of the sandbox is missing",
		Text: "Tasks run in %s. For more: %s.", Remedy: "Do as the text says and restart the node, or nothing: the other walls hold.",
	}
	noListener = &health.Warnable{
		Code: "outbound-only", Severity: health.Low, Title: "Others cannot dial this node",
		Text: "listen.outboundOnly is on: this node opens no listener and only dials.", Remedy: "Nothing to do, if that is what you want.",
	}
	smallBuffers = &health.Warnable{
		Code: "udp-buffers", Severity: health.Low, Title: "Small network buffers",
		Text:   "The system allows UDP buffers of %d KiB; QUIC is faster with 7,500 KiB.",
		Remedy: "As root: sysctl -w net.core.rmem_max=7680000 net.core.wmem_max=7680000",
	}
)
