// Kith gives the idle part of a computer to work its owner trusts, and uses the neighbours' in return. This program is
// the whole of it: the node (kith run), the command that talks to it, and the child process in which tasks run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"kith/bench/disk"
	"kith/node"
	"kith/node/api/client"
	"kith/node/grading"
	"kith/simnet"
)

func main() {
	// A task's process is this same binary. It must not pay for anything a node needs.
	if len(os.Args) == 2 && os.Args[1] == node.RunnerArg {
		os.Exit(node.Runner())
	}
	if len(os.Args) > 1 && os.Args[1] == node.ProbeArg {
		os.Exit(grading.Child(os.Args[2:], os.Stdout, os.Stderr))
	}
	if len(os.Args) == 2 && os.Args[1] == disk.ChildArg {
		os.Exit(disk.Main())
	}
	simnet.Bubble() // so is a simulated fleet in virtual time
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// commands is every command; each stands in the file of its name.
type commands struct {
	Home  string `help:"Data folder of the node." env:"KITH_HOME" placeholder:"DIR" type:"path"`
	JSON  bool   `help:"Print JSON for programs instead of text for people."`
	Quiet bool   `short:"q" help:"Print nothing but results and errors."`

	Init   initCmd   `cmd:"" group:"node" help:"Make the data folder and this node's identity. kith run does it by itself."`
	Run    runCmd    `cmd:"" group:"node" help:"Run the node: join the network, give idle time, and submit jobs."`
	Status statusCmd `cmd:"" group:"node" help:"Show this node: what it is doing, what is wrong, why it gets no work."`
	Peers  peersCmd  `cmd:"" group:"node" help:"List the connected nodes."`
	Pause  pauseCmd  `cmd:"" group:"node" help:"Halt tasks and begin no new one until kith resume, not even after a restart."`
	Resume resumeCmd `cmd:"" group:"node" help:"Give idle time again."`
	Kill   killCmd   `cmd:"" group:"node" help:"End every task at once; nothing runs until kith resume."`
	Snooze snoozeCmd `cmd:"" group:"node" help:"Pause for a while, over restarts too."`
	Limits limitsCmd `cmd:"" group:"node" help:"Show what tasks may use, what makes them give way, and what the sensors say."`
	Page   pageCmd   `cmd:"" group:"node" help:"Print an address that opens this node's page in one browser."`
	ID     idCmd     `cmd:"" group:"node" help:"Print this node's identity and addresses."`
	Bench  benchCmd  `cmd:"" group:"node" help:"Measure this computer, part by part, and grade it."`
	Drives drivesCmd `cmd:"" group:"node" help:"Show the drives: grade, limits, health, and what happened to them."`
	Space  spaceCmd  `cmd:"" group:"node" help:"Show what fills the disk and what would go; free it, or let work go on."`
	Soak   soakCmd   `cmd:"" group:"node" help:"Test a drive gently for half an hour; its data stays untouched."`

	Submit   submitCmd   `cmd:"" group:"jobs" help:"Submit a job: kinds joined by commas, and a file or folder."`
	Jobs     jobsCmd     `cmd:"" group:"jobs" help:"List this node's jobs."`
	Job      jobCmd      `cmd:"" group:"jobs" help:"Show, explain, follow, get or cancel one job."`
	Local    localCmd    `cmd:"" group:"jobs" help:"Do a job in this process alone, without a network: the reference."`
	Kinds    kindsCmd    `cmd:"" group:"jobs" help:"List the kinds of work, or show one with its parameters."`
	Receipts receiptsCmd `cmd:"" aliases:"receipt" group:"jobs" help:"List who did what for whom, export it, or do one again."`
	Trust    trustCmd    `cmd:"" group:"jobs" help:"Show what this node thinks of workers and why, or grant an appeal."`
	Credit   creditCmd   `cmd:"" group:"jobs" help:"Show or verify the balance of work done and had."`
	Evidence evidenceCmd `cmd:"" group:"jobs" help:"List or export what this node can prove about others."`

	Service    serviceCmd    `cmd:"" group:"more" help:"Run the node from the start of the machine (Linux, systemd)."`
	Config     configCmd     `cmd:"" group:"more" help:"Read and change settings, and take changes back."`
	Simnet     simnetCmd     `cmd:"" group:"more" help:"Simulate whole fleets: liars, churn, partitions, up to 100,000 nodes."`
	Notice     noticeCmd     `cmd:"" group:"more" help:"What the stewards of a network order together: list, write, sign, send."`
	Version    versionCmd    `cmd:"" group:"more" help:"Print the version."`
	Completion completionCmd `cmd:"" group:"more" help:"Print the completion script of a shell."`
	ExitCodes  exitCodesCmd  `cmd:"" name:"exit-codes" group:"more" help:"Explain the exit codes."`
	Help       helpCmd       `cmd:"" group:"more" help:"Explain a command, or exit-codes."`
}

// app is what every command works with.
type app struct {
	ctx    context.Context
	cli    *commands
	kong   *kong.Kong
	stdout io.Writer
	stderr io.Writer
	term   terminal
	named  bool // the owner named the data folder
}

// run is the program but for the process around it: arguments in, exit code out.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cli := &commands{}
	a := &app{ctx: ctx, cli: cli, stdout: stdout, stderr: stderr, term: newTerminal(stderr)}
	exit := -1
	parser, err := kong.New(cli,
		kong.Name("kith"),
		kong.Description("Give the idle part of this computer to work you trust, and use your neighbours' in return."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.ShortUsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, Tree: false, NoExpandSubcommands: true}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "node", Title: "The node"}, {Key: "jobs", Title: "Jobs"}, {Key: "more", Title: "More"},
		}),
		kong.Bind(a),
	)
	if err != nil {
		panic("BUG: commands: " + err.Error())
	}
	a.kong = parser
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 { // --help was printed
		return exit
	}
	if err != nil {
		a.complain(err)
		fmt.Fprintln(stderr, "       kith --help shows the commands")
		return exitUsage
	}
	if a.named = cli.Home != ""; !a.named {
		cli.Home = node.DefaultHome()
	}
	if cli.Home, err = filepath.Abs(cli.Home); err == nil {
		err = parsed.Run()
	}
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	a.complain(err)
	return exitCode(err)
}

// client calls the node of the data folder.
func (a *app) client() (*client.Client, error) { return client.Open(a.cli.Home) }

// complain says what is wrong and what to do about it.
func (a *app) complain(err error) {
	var told *client.Error
	var quiet silent
	if errors.As(err, &quiet) {
		return
	}
	remedy := remedyFor(err)
	if errors.As(err, &told) {
		remedy = told.Remedy
	}
	if a.cli.JSON {
		code := ""
		if told != nil {
			code = told.Code
		}
		a.printJSONTo(a.stderr, map[string]any{"error": err.Error(), "code": code, "remedy": remedy, "exit": exitCode(err)})
		return
	}
	fmt.Fprintf(a.stderr, "%s %s\n", a.term.red("kith:"), err)
	if remedy != "" && !strings.Contains(err.Error(), remedy) {
		fmt.Fprintf(a.stderr, "      %s\n", remedy)
	}
}

// note prints a message for people, unless they asked for quiet.
func (a *app) note(format string, args ...any) {
	if !a.cli.Quiet {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}
