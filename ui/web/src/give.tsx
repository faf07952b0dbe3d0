// What the owner gives: caps for both cases, hours, reasons to pause, snooze with its countdown, and the way back.
import { useEffect, useState } from "preact/hooks";
import { call, type ConfigChange, type Setting, type Status } from "./api";
import { bytes, duration, percent, short } from "./format";
import { Card, Trouble, useCall } from "./parts";

const MiB = 1 << 20;
const sizes: Record<string, number> = { TiB: 2 ** 40, GiB: 2 ** 30, MiB: MiB, KiB: 1024, TB: 1e12, GB: 1e9, MB: 1e6, kB: 1e3 };

/** The bytes of a setting like "2GiB" or "10MB/s"; undefined where there is no ceiling. */
function parse(text: string): number | undefined {
  const m = /^([\d.]+)\s*([A-Za-z]*)(\/s)?$/.exec(text);
  return m ? Number(m[1]) * (sizes[m[2]!] ?? 1) : undefined;
}

// A slider moves over steps; each row says what they are and how a step is written as a setting.
type Row = { key: string; title: string; steps: number[]; write: (n: number) => string; show: (n: number) => string; hint: string };

const plain = new Set(["cpu", "cores", "pause.hot", "pause.busy", "work.goalHours"]); // settings that are numbers without a unit

const rates = [64 * 1024, 128 * 1024, 256 * 1024, 512 * 1024, ...[1, 2, 5, 10, 20, 50, 100, 200, 500].map((n) => n * MiB), Infinity];
const rateRow = (key: string, title: string, hint: string): Row => ({
  key, title, hint, steps: rates,
  write: (n) => (n === Infinity ? "unlimited" : n >= MiB ? `${n / MiB}MiB/s` : `${n / 1024}KiB/s`),
  show: (n) => (n === Infinity ? "unlimited" : `${bytes(n)}/s`),
});

function rows(status: Status, memoryMiB: number): Row[] {
  const memory = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144].filter((m) => m <= memoryMiB);
  const list: Row[] = [
    {
      key: "cpu", title: "Processor", hint: "share of all processors, for all tasks together",
      steps: [1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100], write: String, show: (n) => `${n} %`,
    },
    { key: "memory", title: "Memory", hint: "of all tasks together", steps: memory.map((m) => m * MiB), write: (n) => `${n / MiB}MiB`, show: bytes },
    rateRow("io", "Disk transfer", "read and written by tasks"),
    rateRow("down", "Receiving", "inputs and results that come here"),
    rateRow("up", "Sending", "inputs and results that go out"),
  ];
  const { vramTotalBytes } = status.meters;
  if (vramTotalBytes > 0) {
    list.splice(2, 0, {
      key: "vram", title: "Graphics memory", hint: "of all tasks together",
      steps: [...[64, 128, 256, 512, 1024, 2048, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152, 65536].map((m) => m * MiB).filter((n) => n < vramTotalBytes), Infinity],
      write: (n) => (n === Infinity ? "16TiB" : `${n / MiB}MiB`), show: (n) => (n >= vramTotalBytes ? "all" : bytes(n)),
    });
  }
  if (status.meters.cores > 1) {
    list.splice(1, 0, {
      key: "cores", title: "Processors", hint: "so many at once",
      steps: Array.from({ length: status.meters.cores }, (_, i) => i + 1), write: String, show: (n) => `${n} of ${status.meters.cores}`,
    });
  }
  return list;
}

/** What has one value, whether somebody uses the computer or not. */
function single(status: Status): Row[] {
  const disk = status.meters.diskTotalBytes || 16 * 1024 * 1024 * MiB;
  return [
    {
      key: "work.scratch", title: "Scratch space", hint: "files of all running tasks together",
      steps: [0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024].map((g) => g * 1024 * MiB).filter((n) => n <= disk), write: (n) => `${n / MiB}MiB`, show: bytes,
    },
    {
      key: "pause.hot", title: "Heat", hint: "pause at this temperature, until it is ten lower",
      steps: [50, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100, 105, 110], write: String, show: (n) => `${n} °C`,
    },
    {
      key: "pause.busy", title: "My own programs", hint: "take less when they need so much of the processors",
      steps: [10, 20, 30, 40, 50, 60, 70, 80, 90, 100], write: String, show: (n) => (n >= 100 ? "never" : `${n} %`),
    },
    {
      key: "work.goalHours", title: "Goal", hint: "hours a week in which this computer is ready for work",
      steps: [0, 5, 10, 20, 30, 40, 60, 80, 100, 120, 140, 168], write: String, show: (n) => (n === 0 ? "none" : `${n} h`),
    },
  ];
}

const priorities = [
  { value: "balanced", title: "everybody in turn" },
  { value: "mine-first", title: "my projects" },
  { value: "community-first", title: "everybody else's" },
];

function Slider(props: { row: Row; name: string; label: string; value: string; onSet: (value: string) => void }) {
  const { row, value } = props;
  const number = plain.has(row.key) ? Number(value) : (parse(value) ?? Infinity);
  const nearest = row.steps.reduce((best, step, i) => (Math.abs(step - number) < Math.abs(row.steps[best]! - number) || (step === number) ? i : best), 0);
  const [at, setAt] = useState<number>();
  const shown = at ?? nearest;
  useEffect(() => setAt(undefined), [value]);
  const text = at === undefined ? row.show(number) : row.show(row.steps[at]!);
  return (
    <label class={props.label === "" ? "slider one" : "slider"}>
      {props.label !== "" && <span class="quiet">{props.label}</span>}
      <input type="range" name={props.name} min={0} max={row.steps.length - 1} step={1} value={shown} aria-valuetext={text} aria-label={props.label === "" ? `${row.title}: ${row.hint}` : `${row.title}, ${props.label}`}
        onInput={(e) => setAt(e.currentTarget.valueAsNumber)}
        onChange={(e) => props.onSet(row.write(row.steps[e.currentTarget.valueAsNumber]!))} />
      <output>{text}</output>
    </label>
  );
}

const reasons = [
  { key: "pause.fullScreen", title: "a program fills the screen" },
  { key: "pause.battery", title: "on battery" },
  { key: "pause.metered", title: "the network is metered" },
];

const naps = [
  { title: "30 min", millis: 30 * 60_000 },
  { title: "2 h", millis: 2 * 3600_000 },
  { title: "8 h", millis: 8 * 3600_000 },
];

/** Draws a component again every second, while it counts down. */
function useTick(on: boolean) {
  const [, tick] = useState(0);
  useEffect(() => {
    if (!on) return;
    const t = window.setInterval(() => tick((n) => n + 1), 1000);
    return () => window.clearInterval(t);
  }, [on]);
}

export function Give(props: { status: Status }) {
  const { owner } = props.status;
  const [settings, setSettings] = useState<Record<string, Setting>>({});
  const [can, setCan] = useState({ undo: false, redo: false });
  const [newHours, setNewHours] = useState("");
  const [program, setProgram] = useState("");
  const [project, setProject] = useState("");
  const { busy, error, run } = useCall();
  const keep = (list: Setting[]) => setSettings(Object.fromEntries(list.map((s) => [s.key, s])));
  const took = (c: ConfigChange) => {
    keep(c.settings);
    setCan({ undo: c.canUndo, redo: c.canRedo });
  };
  const load = () => void run(async () => keep(await call<Setting[]>("GET", "config")));
  useEffect(load, []);
  const set = (values: Record<string, string>) => run(async () => took(await call<ConfigChange>("PATCH", "config", values)));
  const back = (what: "undo" | "redo") => void run(async () => took(await call<ConfigChange>("POST", `config/${what}`)));
  const value = (key: string) => settings[key]?.value ?? "";
  const hours = value("work.hours") === "" ? [] : value("work.hours").split(",");
  const mine = value("work.mine") === "" ? [] : value("work.mine").split(",");
  const programs = value("pause.programs") === "" ? [] : value("pause.programs").split(",");
  const memory = props.status.meters.memoryTotalBytes || 256 * 1024 * MiB;
  const snoozed = owner.reasons.find((r) => r.cause === "snooze");
  useTick(snoozed !== undefined);

  return (
    <Card title="What I give" id="give" aside={
      <span class="row">
        <button type="button" class="link" id="undo" disabled={busy || !can.undo} onClick={() => back("undo")}>Undo</button>
        <button type="button" class="link" id="redo" disabled={busy || !can.redo} onClick={() => back("redo")}>Redo</button>
      </span>
    }>
      <Trouble error={error} />
      <div class="row wrap" id="snooze">
        {snoozed ? (
          <>
            <span>Snoozing for another <b class="count">{duration(Math.max(0, snoozed.until - Date.now()))}</b></span>
            <button type="button" disabled={busy} onClick={() => void run(() => call("POST", "snooze", { millis: 0 }))}>Wake up</button>
          </>
        ) : (
          <>
            <span class="quiet">Leave me alone for</span>
            {naps.map((n) => (
              <button key={n.title} type="button" disabled={busy} onClick={() => void run(() => call("POST", "snooze", { millis: n.millis }))}>{n.title}</button>
            ))}
          </>
        )}
      </div>
      {Object.keys(settings).length > 0 && (
        <>
          <div class="caps">
            {rows(props.status, memory / MiB).map((row) => (
              <fieldset key={row.key} class="cap">
                <legend>{row.title} <span class="quiet">{row.hint}</span></legend>
                <Slider row={row} name={`inUse.${row.key}`} label="while I use it" value={value(`inUse.${row.key}`)} onSet={(v) => void set({ [`inUse.${row.key}`]: v })} />
                <Slider row={row} name={`work.${row.key}`} label="while I do not" value={value(`work.${row.key}`)} onSet={(v) => void set({ [`work.${row.key}`]: v })} />
              </fieldset>
            ))}
            {single(props.status).map((row) => (
              <fieldset key={row.key} class="cap">
                <legend>{row.title} <span class="quiet">{row.hint}</span></legend>
                <Slider row={row} name={row.key} label="" value={value(row.key)} onSet={(v) => void set({ [row.key]: v })} />
              </fieldset>
            ))}
          </div>
          <fieldset>
            <legend>Whose tasks come first</legend>
            <div class="row wrap">
              {priorities.map((p) => (
                <label key={p.value} class={`chip ${value("work.priority") === p.value ? "on" : ""}`}>
                  <input type="radio" name="priority" value={p.value} checked={value("work.priority") === p.value} onChange={() => void set({ "work.priority": p.value })} /> {p.title}
                </label>
              ))}
              {mine.map((id) => (
                <span key={id} class="chip on" title={id}>{short(id)} is mine <button type="button" class="link" aria-label={`forget ${id}`} onClick={() => void set({ "work.mine": mine.filter((x) => x !== id).join(",") })}>✕</button></span>
              ))}
              <form class="row" onSubmit={(e) => {
                e.preventDefault();
                if (project.trim() !== "") void set({ "work.mine": [...mine, project.trim()].join(",") }).then((ok) => ok && setProject(""));
              }}>
                <input name="mine" size={18} placeholder="a node of my projects" aria-label="a node whose jobs are my projects" value={project} onInput={(e) => setProject(e.currentTarget.value)} />
                <button disabled={busy}>Add</button>
              </form>
            </div>
          </fieldset>
          <fieldset>
            <legend>While I use this computer</legend>
            <div class="row wrap">
              {[["shrink", "go on with less"], ["pause", "pause"], ["ignore", "go on as ever"]].map(([v, title]) => (
                <label key={v} class={`chip ${value("pause.active") === v ? "on" : ""}`}>
                  <input type="radio" name="active" value={v} checked={value("pause.active") === v} onChange={() => void set({ "pause.active": v! })} /> {title}
                </label>
              ))}
            </div>
          </fieldset>
          <fieldset>
            <legend>Pause while</legend>
            <div class="row wrap">
              {reasons.map((r) => (
                <label key={r.key} class={`chip ${value(r.key) === "on" ? "on" : ""}`}>
                  <input type="checkbox" name={r.key} checked={value(r.key) === "on"} onChange={() => void set({ [r.key]: value(r.key) === "on" ? "off" : "on" })} /> {r.title}
                </label>
              ))}
              {programs.map((p) => (
                <span key={p} class="chip on">{p} runs <button type="button" class="link" aria-label={`forget ${p}`} onClick={() => void set({ "pause.programs": programs.filter((x) => x !== p).join(",") })}>✕</button></span>
              ))}
              <form class="row" onSubmit={(e) => {
                e.preventDefault();
                if (program.trim() !== "") void set({ "pause.programs": [...programs, program.trim()].join(",") }).then((ok) => ok && setProgram(""));
              }}>
                <input name="program" size={14} placeholder="a program: vlc" aria-label="pause while this program runs" value={program} onInput={(e) => setProgram(e.currentTarget.value)} />
                <button disabled={busy}>Add</button>
              </form>
            </div>
          </fieldset>
          <fieldset>
            <legend>Hours in which tasks may run <span class="quiet">{hours.length === 0 && "always, unless you name some"}</span></legend>
            <div class="row wrap">
              {hours.map((h) => (
                <span key={h} class="chip on">{h} <button type="button" class="link" aria-label={`remove ${h}`} onClick={() => void set({ "work.hours": hours.filter((x) => x !== h).join(",") })}>✕</button></span>
              ))}
              <form class="row" onSubmit={(e) => {
                e.preventDefault();
                if (newHours.trim() !== "") void set({ "work.hours": [...hours, newHours.trim()].join(",") }).then((ok) => ok && setNewHours(""));
              }}>
                <input name="hours" size={22} placeholder="mon-fri 22:00-07:00" aria-label="hours in which tasks may run" value={newHours} onInput={(e) => setNewHours(e.currentTarget.value)} />
                <button disabled={busy}>Add</button>
              </form>
            </div>
          </fieldset>
        </>
      )}
      <dl class="meters" id="ineffect">
        <div><dt>In effect now</dt><dd>{owner.level}</dd></div>
        <div><dt>Processors</dt><dd>{owner.caps.processors.toFixed(2)} <span class="quiet">of {props.status.meters.cores}</span></dd></div>
        <div><dt>Memory</dt><dd>{bytes(owner.caps.memoryBytes)}{owner.caps.promisedBytes > 0 && <span class="quiet">, {bytes(owner.caps.promisedBytes)} promised</span>}</dd></div>
        {owner.yield.count > 0 && <div><dt>Gets out of your way in</dt><dd>{owner.yield.p99Millis} ms <span class="quiet">promised: {owner.yield.promiseMillis} ms</span></dd></div>}
        {owner.caps.share < 1 && <div><dt>Takes less, for it was too slow</dt><dd>{percent(owner.caps.share)} <span class="quiet">of what you give</span></dd></div>}
        {owner.goal.hours > 0 && <div><dt>Ready for work</dt><dd>{owner.goal.done.toFixed(1)} h <span class="quiet">of {owner.goal.hours} h a week</span></dd></div>}
      </dl>
      <details>
        <summary>What the sensors say</summary>
        <table>
          <tbody>
            {owner.sensors.map((s) => (
              <tr key={s.name}><td>{s.name}</td><td>{s.known ? (s.unit === "" ? (s.value !== 0 ? "yes" : "no") : `${s.value.toFixed(0)} ${s.unit}`) : "not known"}</td><td class="quiet">{s.text}</td></tr>
            ))}
          </tbody>
        </table>
      </details>
    </Card>
  );
}

/** Why the node gives way right now, in words, with a countdown where the end is known. */
export function Reasons(props: { status: Status }) {
  const { reasons } = props.status.owner;
  useTick(reasons.some((r) => r.until > 0));
  if (reasons.length === 0) return null;
  return (
    <ul class="plain reasons" id="reasons" aria-label="Why this computer gives way">
      {reasons.map((r) => (
        <li key={r.cause}>
          <b>{{ shrunk: "Taking less", drained: "Nothing new", paused: "Paused", killed: "Stopped" }[r.level] ?? r.level}:</b> {r.text}
          <span class="quiet">{r.until > Date.now() ? `; ends in ${duration(r.until - Date.now())}` : r.ends !== "" ? `; ends ${r.ends}` : ""}</span>
        </li>
      ))}
    </ul>
  );
}
