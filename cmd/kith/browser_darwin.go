package main

import "os/exec"

func openBrowser(address string) error { return exec.Command("open", address).Start() }
