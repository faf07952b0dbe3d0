// The bar at the top: who I am, what the owner allows, and the two switches.
import { useLayoutEffect, useState } from "preact/hooks";
import { call, type Status } from "./api";
import { time } from "./format";
import { Ask, Id, Trouble, useCall } from "./parts";

const words = { full: "Giving idle time", shrunk: "Giving a little", drained: "Taking nothing new", paused: "Paused", killed: "Stopped" };

export function Head(props: { status?: Status; up: boolean; onHelp: () => void }) {
  const { status } = props;
  const { busy, error, run } = useCall();
  const [asking, setAsking] = useState(false);
  const state = status?.owner.state ?? "working";
  const level = status?.owner.level ?? "full";

  const press = (what: "pause" | "resume" | "kill") => run(() => call("POST", what));
  // Before the next paint: a key must never act on a state the page no longer shows.
  useLayoutEffect(() => {
    const key = (e: KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || !(e.target instanceof HTMLElement) || e.target.matches("input, select, textarea")) return;
      if (e.key === "p") void press(state === "working" ? "pause" : "resume");
      else if (e.key === "K") setAsking(true);
      else if (e.key === "?") props.onHelp();
      else return;
      e.preventDefault();
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  });

  return (
    <header class="top">
      <div class="row">
        <img src="icon.svg" alt="" width="36" height="36" />
        <div class="grow">
          <h1>Kith</h1>
          <p class="quiet">
            {status ? <>node <Id id={status.node} /> on network <b>{status.network}</b></> : "connecting…"}
          </p>
        </div>
        <p class={`state ${props.up ? level : "away"}`} role="status" id="state" title={status?.owner.words}>
          {props.up ? words[level] : "Not connected"}
          {props.up && status && status.owner.since > 0 && <span class="quiet"> since {time(status.owner.since)}</span>}
        </p>
        {state === "working" ? (
          <button type="button" id="pause" disabled={busy || !props.up} title="Halt tasks until you resume (p)" onClick={() => press("pause")}>Pause</button>
        ) : (
          <button type="button" id="resume" class="primary" disabled={busy || !props.up} title="Give idle time again (p)" onClick={() => press("resume")}>Resume</button>
        )}
        <button type="button" id="kill" class="danger" disabled={busy || !props.up || state === "killed"} title="Stop every task now (Shift+K)" onClick={() => setAsking(true)}>Stop all</button>
      </div>
      {!props.up && <p class="notice" role="status">The node does not answer. What you see is the last it said; the page connects again by itself.</p>}
      <Trouble error={error} />
      {asking && (
        <Ask
          title="Stop every task now?"
          text="All tasks on this computer end at once and their work is handed back. Nothing runs again, not even after a restart, until you press Resume."
          yes="Stop all"
          onNo={() => setAsking(false)}
          onYes={() => {
            setAsking(false);
            void press("kill");
          }}
        />
      )}
    </header>
  );
}
