package scenario

import (
	"errors"
	"strings"
	"testing"
)

// What a rung cannot do is refused with words, not passed over.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct{ rung, text, want string }{
		"plain":         {"mock", "", ""},
		"what it can":   {"mock", "hosts honest 50%\nhosts random 20% lie=50%\nhosts flapping 10% region=JP\nhosts slow 20% quiet=true factor=3\nat 1m partition JP\nat 2m heal\nat 3m crash\n", ""},
		"links":         {"quic", "net loss=1% bandwidth=1MiB nat=20% rtt=80ms\n", ""},
		"churn":         {"mock", "churn 50%\n", "cannot do churn; use rung core"},
		"typical churn": {"quic", "churn typical\n", "cannot do churn"},
		"sleepers":      {"quic", "hosts laptop 100%\n", "laptop hosts"},
		"two at once":   {"mock", "hosts relayed 50%\nhosts copier 50%\n", "relayed hosts, copier hosts"},
		"named once":    {"mock", "hosts laptop 50%\nhosts laptop 50% slots=1\n", "cannot do laptop hosts; use"},
		"late liars":    {"mock", "hosts colluder 100% after=12\n", "hosts after="},
		"groups":        {"mock", "hosts honest 100% groups=2\n", "hosts groups="},
		"late hosts":    {"quic", "hosts honest 100% join=1m over=1m\n", "hosts join=, hosts over="},
		"spread":        {"mock", "job tasks=1 spread=0\n", "job spread="},
		"input":         {"mock", "job tasks=1 input=1MiB\n", "job input="},
		"reduce":        {"quic", "job tasks=1 shape=reduce\n", "job shape=reduce"},
		"warm-up":       {"mock", "job tasks=1 warm=true\n", "job warm="},
		"acts":          {"quic", "at 1m storm 1 1m\nat 1m hub 1h\n", "storm, hub"},
		"loss":          {"mock", "net loss=1%\n", "net loss="},
		"bandwidth":     {"mock", "net bandwidth=1MiB\n", "net bandwidth="},
		"routers":       {"mock", "net nat=1%\n", "net nat="},
		"core":          {"core", "churn typical\nhosts laptop 100%\nnet loss=1%\n", ""},
		"numbers":       {"mock", "hosts honest 100% floats=a off=1\njob tasks=1 numbers=true\n", ""},
		"core, classes": {"core", "hosts honest 100% floats=a\n", "rung core cannot do hosts floats= or off="},
		"core, numbers": {"core", "job tasks=1 numbers=true\n", "rung core cannot do job numbers="},
		"core, routers": {"core", "net nat=1%\n", "rung core cannot do net nat="},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Parse("f", "title x\nrung "+c.rung+"\njob tasks=10\n"+c.text)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Check()
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want …%s…", err, c.want)
			}
		})
	}
	s, err := Parse("f", ten)
	if err != nil || s.Jobs[0].Varies() != usualSpread {
		t.Errorf("the usual spread: %v %v", s.Jobs[0].Varies(), err)
	}
}
