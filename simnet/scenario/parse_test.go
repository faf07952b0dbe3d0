package scenario

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const ten = `# the ten lines of the manual
title  a third of the volunteers lies together
nodes  300
hosts  honest   70%
hosts  colluder 30% lie=5% after=10
regions DE 60% JP 40%
churn  50%
job    tasks=2000 seconds=20 k=2 n=8 adaptive=true
at     10m partition JP
at     20m heal
expect wrong = 0
expect makespan <= 40m
`

func TestParse(t *testing.T) {
	s, err := Parse("ten", ten)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := Parse("mean", ten+"seeds 20\nexpect mean wrong.told <= 90%\n"); err != nil || m.Seeds != 20 || !m.Expect[2].Mean || m.Expect[2].Measure != "wrong.told" || m.Expect[0].Mean {
		t.Errorf("read as %+v, %v", m, err)
	}
	if s.Seeds != 1 || s.Nodes != 300 || len(s.Hosts) != 2 || s.Hosts[1].Lie != .05 || s.Hosts[1].After != 10 || s.Churn.Hourly != .5 ||
		!s.Jobs[0].Adaptive || s.Acts[0].At != 10*time.Minute || s.Expect[1].Value != 2400 {
		t.Errorf("read as %+v", s)
	}
}

// Every mistake is told with its line and what would be right.
func TestMistakes(t *testing.T) {
	base := "title x\njob tasks=10\n"
	for name, c := range map[string]struct{ text, want string }{
		"directive":     {"title x\nnode 5\n", ":2: there is no directive"},
		"no title":      {"job tasks=1\n", "begin with a line"},
		"no job":        {"title x\n", "add a line such as"},
		"twice":         {"title x\ntitle y\n", ":2: title was given in line 1 already"},
		"nodes":         {base + "nodes many\n", ":3: \"many\" is not a whole number"},
		"too many":      {base + "nodes 99999999\n", "is not a whole number from 0 to"},
		"actor":         {base + "hosts saint 100%\n", ":3: there is no actor \"saint\": use honest"},
		"share":         {base + "hosts honest 0.5\n", "write it such as 30%"},
		"shares":        {base + "hosts honest 50%\n", "make them 100%"},
		"region":        {base + "regions XX 100%\n", "no latency is known for region \"XX\": use"},
		"region shares": {base + "regions DE 10%\n", "make them 100%"},
		"key":           {"title x\njob taks=1\n", ":2: there is no key \"taks\" here; keys are"},
		"not a pair":    {"title x\njob fast\n", "\"fast\" is not key=value"},
		"n below k":     {"title x\njob tasks=1 k=3 n=2\n", "make n at least k"},
		"no tasks":      {"title x\njob k=2\n", "want tasks="},
		"huge":          {"title x\njob tasks=1000000000\n", "is not a whole number"},
		"all huge":      {"title x\njob tasks=1000000 repeat=100\n", "ask for fewer"},
		"all warm":      {"title x\njob tasks=1 warm=true\n", "leave warm= away"},
		"warm again":    {"title x\njob tasks=1 warm=true repeat=2\n", "is not repeated"},
		"verb":          {base + "at 1m explode\n", "nothing is called \"explode\""},
		"time":          {base + "at soon heal\n", "is not a time; write it such as"},
		"crash":         {base + "at 1m crash 7\n", "name one that has a job"},
		"measure":       {base + "expect luck = 1\n", "nothing is measured as \"luck\""},
		"operator":      {base + "expect wrong ~ 0\n", "is not one of"},
		"mean of what":  {base + "expect mean wrong\n", "or: expect mean extra <= 8"},
		"seeds":         {base + "seeds 0\n", ":3: \"0\" is not a whole number from 1"},
		"floats":        {base + "hosts honest 100% floats=A\n", "is not 1 to 16 small letters"},
		"off what":      {"title x\nrung mock\njob tasks=1\nhosts honest 100% off=3\n", "give a job numbers=true"},
		"rung":          {base + "rung air\n", "use core, mock or quic"},
		"size":          {base + "net bandwidth=fast\n", "is not a size"},
		"long":          {strings.Repeat("#", maxText+1), "at most"},
		"lines":         {strings.Repeat("\n", maxLines+1), "lines, at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", c.text)
			if !errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s…", err, c.want)
			}
		})
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	_, err := Parse("f", "title x\nnodes many\njob tasks=10\nrung air\nexpct done = 100\n")
	for _, want := range []string{"f:2: ", "f:4: ", "f:5: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want …%s…", err, want)
		}
	}
	_, err = Parse("f", strings.Repeat("node 5\n", maxTold+10))
	if n := strings.Count(err.Error(), "there is no directive"); n != maxTold {
		t.Errorf("%d mistakes are told, want %d", n, maxTold)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(ten)
	f.Add("title x\njob tasks=1 seconds=NaN\n")
	f.Add("at 1m storm 1 1d\nhosts sybil 100% groups=2\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("f", text)
		if err != nil {
			if !errors.Is(err, ErrScenario) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		if s.Nodes < 0 || s.Nodes > MaxNodes || len(s.Jobs) == 0 || s.Limit < 0 {
			t.Errorf("accepted %+v", s)
		}
	})
}
