// Package config holds the settings of a node: one JSON file in the data folder in which only what differs from the
// defaults stands. A zero value means the default; the defaults stand in one table (Defaults) and may change from one
// release to the next. Unknown fields are refused with line and column, values outside their range with the range, every
// change can be undone, and most take effect without a restart.
package config

import (
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kith/bench"
	"kith/node/owner/hours"
)

// Version is the version of the file this program writes. It reads this one and older ones.
const Version = 1

// Config is every setting. The tags are the reference: doc for people, min and max for numbers and sizes, choices for
// words, live for what takes effect without a restart.
type Config struct {
	Version int     `json:"version"`
	Network string  `json:"network,omitzero" doc:"name of the network to join; nodes of different networks never meet" form:"network"`
	Listen  Listen  `json:"listen,omitzero"`
	Serve   Serve   `json:"serve,omitzero"`
	Peers   Peers   `json:"peers,omitzero"`
	API     API     `json:"api,omitzero"`
	Work    Work    `json:"work,omitzero"`
	InUse   InUse   `json:"inUse,omitzero"`
	Pause   Pause   `json:"pause,omitzero"`
	Stop    Stop    `json:"stop,omitzero"`
	Storage Storage `json:"storage,omitzero"`
	Grade   Grade   `json:"grade,omitzero"`
	Log     Log     `json:"log,omitzero"`
}

// Listen is how other nodes reach this one.
type Listen struct {
	Ports        Ports  `json:"ports,omitzero" doc:"UDP and TCP port for other nodes: one number, a range of which the first free one is taken, or any"`
	On           string `json:"on,omitzero" doc:"who can reach this node: everybody its network lets through, or only programs of this machine" choices:"all,loopback"`
	Profile      string `json:"profile,omitzero" doc:"lan keeps private addresses and treats nearby nodes as independent; wan publishes public addresses only; auto is lan when listening on loopback, and unless this machine or a node it is told of has a public address" choices:"auto,lan,wan"`
	Reachable    string `json:"reachable,omitzero" doc:"whether strangers can dial this node: auto measures it with the help of others; yes takes your word, as the first nodes of a network must" choices:"auto,yes"`
	OutboundOnly Switch `json:"outboundOnly,omitzero" doc:"open no listener for other nodes at all; this node only dials"`
	Transports   string `json:"transports,omitzero" doc:"how nodes connect; quic and tcp restrict it to one of the two" choices:"both,quic,tcp"`
}

// Serve is what the node does for strangers beyond tasks. It needs the owner's consent.
type Serve struct {
	DHT   string `json:"dht,omitzero" doc:"answer look-ups of other nodes; auto does so on the local network, and elsewhere only when reachable" choices:"auto,on,off"`
	Relay Switch `json:"relay,omitzero" doc:"carry control traffic of nodes that cannot reach each other directly"`

	Depot      Switch `json:"depot,omitzero" doc:"hold blocks for nodes that cannot reach each other directly, for a day at most and unreadable unless public; only while others can reach this node" live:"yes"`
	DepotQuota Size   `json:"depotQuota,omitzero" doc:"disk space for blocks held for others; one node gets a quarter of it at most" min:"16MiB" max:"16TiB" live:"yes"`
}

// Peers is how the node finds others and says where it is.
type Peers struct {
	Bootstrap     []string `json:"bootstrap,omitzero" doc:"addresses of nodes to meet first, each /ip4/…/p2p/ID" form:"multiaddr"`
	BootstrapFile string   `json:"bootstrapFile,omitzero" doc:"file with more of them, one a line; # begins a comment"`
	MDNS          Switch   `json:"mdns,omitzero" doc:"find nodes on the local network by multicast DNS"`
	Region        string   `json:"region,omitzero" doc:"where this node is (ISO country code); empty: looked up in the mmdb file" form:"region"`
	MMDB          string   `json:"mmdb,omitzero" doc:"GeoLite2-style database file for regions; empty: none"`
	ASN           string   `json:"asn,omitzero" doc:"GeoLite2-ASN-style database file: who computes the same task for you is then never of one provider; empty: none"`
	Max           int      `json:"max,omitzero" doc:"connections to keep at most; home routers suffer from many" min:"8" max:"4096"`
}

// API is the local page and the local API.
type API struct {
	Ports Ports `json:"ports,omitzero" doc:"TCP port on loopback for the page and the kith command"`
}

// Work is what the owner gives to others.
type Work struct {
	Donate         Switch   `json:"donate,omitzero" doc:"do tasks of other nodes" live:"yes"`
	Weights        []string `json:"weights,omitzero" doc:"who gets more of the slots when several want them: a kind, a family of kinds or a node, and how many times as much (etl.*=3)" form:"weight" live:"yes"`
	Slots          int      `json:"slots,omitzero" doc:"tasks that may run at the same time" min:"1" max:"256" live:"yes"`
	MemoryPerTask  Size     `json:"memoryPerTask,omitzero" doc:"memory of one task at most" min:"16MiB" max:"1TiB" live:"yes"`
	Memory         Size     `json:"memory,omitzero" doc:"memory of all tasks together" min:"64MiB" max:"16TiB" machine:"memory" live:"yes"`
	ScratchPerTask Size     `json:"scratchPerTask,omitzero" doc:"scratch and output files of one task at most" min:"1MiB" max:"16TiB" live:"yes"`
	Scratch        Size     `json:"scratch,omitzero" doc:"scratch and output files of all tasks together" min:"1MiB" max:"64TiB" machine:"disk" live:"yes"`
	TaskSeconds    int      `json:"taskSeconds,omitzero" doc:"running time of one task at most, in seconds" min:"1" max:"604800" live:"yes"`
	KindsOff       []string `json:"kindsOff,omitzero" doc:"kinds of work this node does not do; a trailing * switches a family off (etl.*)" form:"kind" live:"yes"`
	CPU            int      `json:"cpu,omitzero" doc:"share of this computer's processors for all tasks together, in percent" min:"1" max:"100" live:"yes"`
	Cores          int      `json:"cores,omitzero" doc:"processors' worth of time for all tasks together" min:"1" max:"1024" machine:"cores" live:"yes"`
	VRAM           Size     `json:"vram,omitzero" doc:"graphics memory of all tasks together; tasks declare what they need" min:"64MiB" max:"16TiB" machine:"vram" live:"yes"`
	IO             Rate     `json:"io,omitzero" doc:"what all tasks together read from and write to disks" min:"64KiB" live:"yes"`
	Down           Rate     `json:"down,omitzero" doc:"what this node receives of inputs and results" min:"64KiB" live:"yes"`
	Up             Rate     `json:"up,omitzero" doc:"what this node sends of inputs and results" min:"64KiB" live:"yes"`
	Hours          []string `json:"hours,omitzero" doc:"when tasks may run, by this computer's clock; empty: always" form:"hours" live:"yes"`
	Priority       string   `json:"priority,omitzero" doc:"whose tasks go first: mine-first those of the nodes in work.mine, which also are never passed over, and nothing for others while this node has jobs of its own to split or merge; community-first those of everybody else; balanced all in turn" choices:"balanced,mine-first,community-first" live:"yes"`
	Mine           []string `json:"mine,omitzero" doc:"nodes whose jobs are my projects; kith id prints the name of a node" form:"node" live:"yes"`
	GoalHours      int      `json:"goalHours,omitzero" doc:"hours a week this node wants to be ready for work; kith status shows how far it is. 0: no goal" min:"0" max:"168" live:"yes"`
}

// InUse is the most that tasks get while somebody uses this computer. What Work gives is never passed.
type InUse struct {
	CPU    int  `json:"cpu,omitzero" doc:"as work.cpu, while I use this computer" min:"1" max:"100" live:"yes"`
	Cores  int  `json:"cores,omitzero" doc:"as work.cores, while I use this computer" min:"1" max:"1024" machine:"cores" live:"yes"`
	Memory Size `json:"memory,omitzero" doc:"as work.memory, while I use this computer" min:"64MiB" max:"16TiB" machine:"memory" live:"yes"`
	VRAM   Size `json:"vram,omitzero" doc:"as work.vram, while I use this computer" min:"64MiB" max:"16TiB" machine:"vram" live:"yes"`
	IO     Rate `json:"io,omitzero" doc:"as work.io, while I use this computer" min:"64KiB" live:"yes"`
	Down   Rate `json:"down,omitzero" doc:"as work.down, while I use this computer" min:"64KiB" live:"yes"`
	Up     Rate `json:"up,omitzero" doc:"as work.up, while I use this computer" min:"64KiB" live:"yes"`
}

// Pause is what makes the node give way by itself.
type Pause struct {
	Active     string   `json:"active,omitzero" doc:"what to do while I use this computer: shrink to the caps of inUse, pause, or ignore it" choices:"shrink,pause,ignore" live:"yes"`
	IdleAfter  Span     `json:"idleAfter,omitzero" doc:"time without keyboard and mouse after which I do not use this computer" min:"1s" max:"24h" live:"yes"`
	FullScreen Switch   `json:"fullScreen,omitzero" doc:"pause while a program fills the screen: a film, a game, a talk" live:"yes"`
	Programs   []string `json:"programs,omitzero" doc:"pause while one of these programs runs; names without folder, case does not matter" form:"program" live:"yes"`
	Battery    Switch   `json:"battery,omitzero" doc:"pause while this computer runs on its battery" live:"yes"`
	Metered    Switch   `json:"metered,omitzero" doc:"pause while the network is metered" live:"yes"`
	Hot        int      `json:"hot,omitzero" doc:"pause at this temperature of the hottest sensor, in degrees Celsius, until it is ten lower" min:"40" max:"110" live:"yes"`
	Busy       int      `json:"busy,omitzero" doc:"shrink when my own programs need this share of the processors, in percent; 100: never" min:"10" max:"100" live:"yes"`
	HandBack   Span     `json:"handBack,omitzero" doc:"how long tasks stand still in a pause before they are handed back" min:"1s" max:"24h" live:"yes"`
}

// Stop is who else may stop this node.
type Stop struct {
	Stewards []string `json:"stewards,omitzero" doc:"nodes whose signatures can stop work in the whole network; empty: nobody can. kith id prints the name of a node" form:"node" live:"yes"`
	Needed   int      `json:"needed,omitzero" doc:"how many of them must sign" min:"1" max:"32" live:"yes"`
	Stale    Span     `json:"stale,omitzero" doc:"stop work when nothing signed by the stewards has come for so long; never: it does not matter" min:"1m" live:"yes"`
}

// Storage is the node's data on disk.
type Storage struct {
	Quota       Size `json:"quota,omitzero" doc:"disk space for blocks, results and logs" min:"64MiB" max:"1000TiB" live:"yes"`
	Blocks      Size `json:"blocks,omitzero" doc:"disk space for the blocks of jobs, own and foreign, within storage.quota" min:"64MiB" max:"1000TiB" live:"yes"`
	Results     Size `json:"results,omitzero" doc:"disk space for results of own finished jobs; the oldest go first" min:"1MiB" max:"1000TiB" live:"yes"`
	Logs        Size `json:"logs,omitzero" doc:"disk space for logs; the oldest files of what the node writes about itself go first" min:"8MiB" max:"1TiB" live:"yes"`
	Models      Size `json:"models,omitzero" doc:"disk space for fetched models" min:"1MiB" max:"1000TiB" live:"yes"`
	DiskAlert   int  `json:"diskAlert,omitzero" doc:"warn when this share of the disk is used, in percent" min:"10" max:"99" live:"yes"`
	DiskStop    int  `json:"diskStop,omitzero" doc:"take no new work when this share of the disk is used, in percent" min:"10" max:"100" live:"yes"`
	KeepResults int  `json:"keepResults,omitzero" doc:"days to keep the blocks of finished jobs" min:"1" max:"3650" live:"yes"`
}

// Grade is how this machine is measured and judged.
type Grade struct {
	Auto    Switch `json:"auto,omitzero" doc:"measure this machine anew when it is idle: once at first, when its hardware changes, and every so often" live:"yes"`
	Days    int    `json:"days,omitzero" doc:"days after which a grade is measured anew" min:"1" max:"365" live:"yes"`
	Idle    int    `json:"idle,omitzero" doc:"minutes without a task, a job and a user before this machine is measured by itself" min:"1" max:"1440" live:"yes"`
	Weights string `json:"weights,omitzero" doc:"how much each part counts in the score: GPU, processor, memory, drives, network, uptime" form:"weights" live:"yes"`
	Python  string `json:"python,omitzero" doc:"Python with PyTorch to measure graphics cards with; empty: the one on the path" live:"yes"`
}

// Log is what the node writes about itself.
type Log struct {
	Level string `json:"level,omitzero" doc:"least important message to write" choices:"debug,info,warn,error" live:"yes"`
}

// AllVRAM, of graphics memory, is all there is: more than any card has.
const AllVRAM Size = 16 << 40

// Defaults is the one table of defaults.
func Defaults() Config {
	return Config{
		Version: Version,
		Network: "main",
		Listen:  Listen{Ports: "4717-4747", On: "all", Profile: "auto", Reachable: "auto", OutboundOnly: Off, Transports: "both"},
		Serve:   Serve{DHT: "auto", Relay: Off, Depot: Off, DepotQuota: 2 << 30},
		Peers:   Peers{MDNS: On, Max: 96},
		API:     API{Ports: "4780-4799"},
		Work: Work{
			Donate: On, Slots: runtime.NumCPU(),
			MemoryPerTask: 1 << 30, Memory: 4 << 30, ScratchPerTask: 2 << 30, Scratch: 16 << 30, TaskSeconds: 3600,
			CPU: 100, Cores: runtime.NumCPU(), VRAM: AllVRAM, IO: Unlimited, Down: Unlimited, Up: Unlimited, Priority: "balanced",
		},
		InUse: InUse{CPU: 25, Cores: runtime.NumCPU(), Memory: 2 << 30, VRAM: AllVRAM, IO: Unlimited, Down: Unlimited, Up: Unlimited},
		Pause: Pause{
			Active: "shrink", IdleAfter: Span(3 * time.Minute), FullScreen: On, Battery: On, Metered: On, Hot: 85, Busy: 50,
			HandBack: Span(time.Minute),
		},
		Stop:    Stop{Needed: 2, Stale: Never},
		Storage: Storage{Quota: 20 << 30, Blocks: 16 << 30, Results: 8 << 30, Logs: 2 << 30, Models: 8 << 30, DiskAlert: 80, DiskStop: 90, KeepResults: 30},
		Grade:   Grade{Auto: On, Days: 30, Idle: 10, Weights: bench.DefaultWeights().Text()},
		Log:     Log{Level: "info"},
	}
}

// Filled returns c with every zero value replaced by its default.
func (c Config) Filled() Config {
	d := reflect.ValueOf(Defaults())
	v := reflect.ValueOf(&c).Elem()
	for _, f := range table {
		if at := v.FieldByIndex(f.index); at.IsZero() {
			at.Set(d.FieldByIndex(f.index))
		}
	}
	c.Version = Version
	return c
}

// Error is a setting that cannot be. It names the key, what is allowed and what to do.
type Error struct {
	Key     string
	Value   string
	Problem string
	Remedy  string
}

func (e *Error) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("setting %s %s; %s", e.Key, e.Problem, e.Remedy)
	}
	return fmt.Sprintf("setting %s: %.200q %s; %s", e.Key, e.Value, e.Problem, e.Remedy)
}

// Validate checks every value that is set, and the rules between them. An error is an *Error.
func (c Config) Validate() error {
	if c.Version < 0 || c.Version > Version {
		return &Error{"version", strconv.Itoa(c.Version), fmt.Sprintf("is not a version this program reads (1 to %d)", Version), "update Kith"}
	}
	v := reflect.ValueOf(c)
	for _, f := range table {
		if at := v.FieldByIndex(f.index); !at.IsZero() {
			if err := f.check(at); err != nil {
				return err
			}
		}
	}
	full := c.Filled()
	if _, err := hours.Parse(full.Work.Hours); err != nil {
		return &Error{"work.hours", strings.Join(full.Work.Hours, ","), "is not allowed: " + err.Error(), "write " + hours.Words}
	}
	switch {
	case full.Work.MemoryPerTask > full.Work.Memory:
		return between("work.memoryPerTask", full.Work.MemoryPerTask, "work.memory", full.Work.Memory)
	case full.Work.ScratchPerTask > full.Work.Scratch:
		return between("work.scratchPerTask", full.Work.ScratchPerTask, "work.scratch", full.Work.Scratch)
	case len(full.Stop.Stewards) > 0 && full.Stop.Needed > len(full.Stop.Stewards):
		return &Error{"stop.needed", strconv.Itoa(full.Stop.Needed), fmt.Sprintf("is more than there are stewards (%d)", len(full.Stop.Stewards)), "lower it or name more in stop.stewards"}
	case full.Storage.DiskAlert > full.Storage.DiskStop:
		return between("storage.diskAlert", full.Storage.DiskAlert, "storage.diskStop", full.Storage.DiskStop)
	case !weighty(full.Grade.Weights):
		return &Error{"grade.weights", full.Grade.Weights, "does not let any part count", "allowed: " + forms["weights"].words}
	case full.Listen.Ports.overlaps(full.API.Ports):
		return &Error{"api.ports", string(full.API.Ports), fmt.Sprintf("overlaps listen.ports (%s)", full.Listen.Ports), "choose ranges that do not touch"}
	}
	return nil
}

func weighty(text string) bool {
	_, err := bench.ParseWeights(text)
	return err == nil
}

func between(small string, a any, large string, b any) error {
	return &Error{small, fmt.Sprint(a), fmt.Sprintf("is more than %s (%v)", large, b), fmt.Sprintf("lower %s or raise %s", small, large)}
}

// form is a rule for texts that neither a range nor a list of choices can say.
type form struct {
	pattern func() *regexp.Regexp // nil: anything
	words   string
}

// pattern is compiled when it is first asked for: most processes of this program, runners above all, never ask.
func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

var forms = map[string]form{
	"network":   {pattern(`^[a-z0-9][a-z0-9-]{0,31}$`), "1 to 32 of a-z, 0-9 and -"},
	"region":    {pattern(`^[A-Z]{2}(-[A-Z0-9]{1,8})?$`), "an ISO country code like DE, or with a part like US-CA"},
	"hours":     {pattern(`^[A-Za-z0-9+: -]{1,80}$`), hours.Words},
	"program":   {pattern(`^[^/\\\x00-\x1f,]{1,128}$`), "the name of a program without its folder, like vlc"},
	"node":      {pattern(`^[a-z2-7]{52}$`), "the name of a node, 52 letters; kith id prints it"},
	"kind":      {pattern(`^[a-z0-9]+(\.[a-z0-9-]+)*(\.?\*)?$`), "the name of a kind like etl.dedup, or etl.*"},
	"weights":   {pattern(`^ *[0-9]{1,4}(\.[0-9]{1,3})?( *, *[0-9]{1,4}(\.[0-9]{1,3})?){5} *$`), "six numbers joined by commas, not all 0: GPU, processor, memory, drives, network, uptime"},
	"weight":    {pattern(`^([a-z0-9]+(\.[a-z0-9-]+)*(\.?\*)?|[a-z2-7]{52})=[1-9][0-9]{0,2}$`), "a kind, a family like etl.* or the id of a node, then = and 1 to 999"},
	"multiaddr": {pattern(`^/[a-z0-9]+/\S+/p2p/[1-9A-HJ-NP-Za-km-z]{20,}$`), "a multiaddr that ends in /p2p/ID; kith id prints it"},
}

// check validates one value that is set.
func (f field) check(v reflect.Value) error {
	refuse := func(value, remedy string) error {
		return &Error{f.Key, value, "is not allowed", remedy}
	}
	switch x := v.Interface().(type) {
	case Switch:
		if x != On && x != Off {
			return refuse(string(x), "allowed: on, off")
		}
	case Ports:
		if _, _, err := x.Range(); err != nil {
			return refuse(string(x), "allowed: "+portsWords)
		}
	case Size:
		if x < f.min || (f.max > 0 && x > f.max) {
			return refuse(x.String(), "allowed: "+f.Range)
		}
	case Rate:
		if x < Rate(f.min) {
			return refuse(x.String(), "allowed: "+f.Range)
		}
	case Span:
		if x < f.least || x > f.most {
			return refuse(x.String(), "allowed: "+f.Range)
		}
	case int:
		if Size(x) < f.min || Size(x) > f.max {
			return refuse(strconv.Itoa(x), "allowed: "+f.Range)
		}
	case string:
		if len(f.Choices) > 0 && !slices.Contains(f.Choices, x) {
			return refuse(x, "allowed: "+strings.Join(f.Choices, ", "))
		}
		return f.checkText(x)
	case []string:
		if len(x) > maxList {
			return refuse(fmt.Sprintf("%d entries", len(x)), fmt.Sprintf("allowed: at most %d entries", maxList))
		}
		for _, s := range x {
			if err := f.checkText(s); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	maxList = 1000 // entries of a list
	maxText = 4096 // bytes of a text
)

func (f field) checkText(s string) error {
	if len(s) > maxText || strings.ContainsAny(s, "\x00\r\n") {
		return &Error{f.Key, s, "is not allowed", fmt.Sprintf("allowed: one line of at most %d bytes", maxText)}
	}
	if f.form.pattern != nil && !f.form.pattern().MatchString(s) {
		return &Error{f.Key, s, "is not allowed", "allowed: " + f.form.words}
	}
	return nil
}
