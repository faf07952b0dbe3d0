package main

import "os/exec"

func openBrowser(address string) error { return exec.Command("xdg-open", address).Start() }
