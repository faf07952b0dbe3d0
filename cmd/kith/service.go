package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"

	"kith/node"
	"kith/node/service"
)

// serviceCmd is "kith service".
type serviceCmd struct {
	Install   serviceInstallCmd   `cmd:"" help:"Run the node from the start of the machine, in control groups of its own: exact limits without being root."`
	Uninstall serviceUninstallCmd `cmd:"" help:"Stop the service and remove it. The data folder stays."`
	Status    serviceStatusCmd    `cmd:"" help:"Show whether the service is installed and runs."`
}

type serviceForm struct {
	System bool `help:"The machine's own service instead of this user's; needs root."`
}

func (f serviceForm) manager() (*service.Manager, error) {
	if f.System && os.Geteuid() != 0 {
		return nil, usage("a service of the machine is made by root: sudo kith service … --system, or leave --system away")
	}
	return service.New(f.System)
}

// serviceInstallCmd is "kith service install".
type serviceInstallCmd struct {
	serviceForm
	User string `help:"With --system: whom it runs as; default: who called sudo." placeholder:"NAME"`
}

// Run installs.
func (c serviceInstallCmd) Run(a *app) error {
	m, err := c.manager()
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	u := service.Unit{Exe: exe, Home: a.cli.Home, User: c.User}
	if c.System {
		if u.User == "" {
			u.User = os.Getenv("SUDO_USER")
		}
		if u.User == "" {
			return usage("whom shall the service run as? Name an ordinary user with --user")
		}
		who, err := user.Lookup(u.User)
		if err != nil {
			return usage("--user %s: there is no such user", u.User)
		}
		if !a.named { // the folder is theirs, not that of root, who calls this
			u.Home = node.HomeBelow(who.HomeDir)
		}
	} else if c.User != "" {
		return usage("--user goes with --system")
	}
	s, err := m.Install(a.ctx, u)
	if err != nil {
		return serviceError(err)
	}
	return showService(a, s)
}

// serviceUninstallCmd is "kith service uninstall".
type serviceUninstallCmd struct{ serviceForm }

// Run uninstalls.
func (c serviceUninstallCmd) Run(a *app) error {
	m, err := c.manager()
	if err != nil {
		return err
	}
	s, err := m.Uninstall(a.ctx)
	if err != nil {
		return serviceError(err)
	}
	return showService(a, s)
}

// serviceStatusCmd is "kith service status".
type serviceStatusCmd struct {
	System bool `help:"The machine's own service instead of this user's."`
}

// Run shows.
func (c serviceStatusCmd) Run(a *app) error {
	m, err := service.New(c.System)
	if err != nil {
		return err
	}
	s, err := m.Status(a.ctx)
	if err != nil {
		return serviceError(err)
	}
	return showService(a, s)
}

func showService(a *app, s service.State) error {
	return a.show(s, func(w io.Writer) {
		if !s.Installed {
			fmt.Fprintln(w, "not installed")
			return
		}
		enabled := "does not start by itself"
		if s.Boot {
			enabled = "starts with the machine"
		} else if s.Enabled {
			enabled = "starts when you log on"
		}
		fmt.Fprintf(w, "%s, %s\nunit %s\n", s.Active, enabled, s.Path)
		if s.Enabled && !s.Boot {
			a.note("to have it start with the machine, and stay when you log off: sudo loginctl enable-linger $USER")
		}
		journal := "journalctl --user -u " + service.Name
		if s.System {
			journal = "journalctl -u " + service.Name
		}
		a.note("kith status shows what the node does; %s shows its log", journal)
	})
}

// serviceError says what to do.
func serviceError(err error) error {
	switch {
	case errors.Is(err, service.ErrUnavailable):
		return fmt.Errorf("%w; start the node with kith run, by whatever starts programs here", err)
	case errors.Is(err, service.ErrNoSession):
		return fmt.Errorf("%w; log on as the user itself, not by su or sudo, or make a service of the machine: sudo kith service install --system", err)
	case errors.Is(err, service.ErrForeign):
		return fmt.Errorf("%w; remove it, if you do not need it, and try again", err)
	}
	return err
}
