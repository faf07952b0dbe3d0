// A new job: a folder, what to do with it, who may see it, how many must agree.
import { useEffect, useState } from "preact/hooks";
import { call, type JobDetail, type Kind, type Submit } from "./api";
import { Card, Trouble, useCall } from "./parts";

const sensitivities = [
  { value: "public", title: "Public", text: "anybody may see it" },
  { value: "synthetic", title: "Synthetic", text: "made up, nobody's data" },
  { value: "approved", title: "Approved", text: "mine to share: sealed, and only those who compute can open it" },
];

export function SubmitForm() {
  const [kinds, setKinds] = useState<Kind[]>([]);
  const [steps, setSteps] = useState<string[]>([]);
  const [path, setPath] = useState("");
  const [sensitivity, setSensitivity] = useState("");
  const [k, setK] = useState(2);
  const [done, setDone] = useState<JobDetail>();
  const load = useCall();
  const send = useCall();

  useEffect(() => {
    void load.run(async () => setKinds((await call<Kind[]>("GET", "kinds")).filter((x) => x.input && !x.name.startsWith("test."))));
  }, []);

  const submit = (e: Event) => {
    e.preventDefault();
    const job: Submit = { path, ops: steps.map((kind) => ({ kind })), k, n: 0, sensitivity };
    void send.run(async () => {
      setDone(undefined);
      setDone(await call<JobDetail>("POST", "jobs", job));
    });
  };

  return (
    <Card title="New job" id="submit">
      <form onSubmit={submit} class="stack">
        <Trouble error={load.error} />
        <label>
          Folder or file on this computer
          <input name="path" required placeholder="/home/you/documents" value={path} onInput={(e) => setPath(e.currentTarget.value)} />
        </label>
        <fieldset>
          <legend>What to do with it, in this order {steps.length > 0 && <button type="button" class="link" onClick={() => setSteps([])}>clear</button>}</legend>
          <div class="row wrap">
            {kinds.map((x) => {
              const at = steps.indexOf(x.name);
              return (
                <label key={x.name} class={`chip ${at >= 0 ? "on" : ""}`} title={x.title}>
                  <input type="checkbox" name="step" value={x.name} checked={at >= 0}
                    onChange={() => setSteps(at >= 0 ? steps.filter((s) => s !== x.name) : [...steps, x.name])} />
                  {at >= 0 && <b>{at + 1}</b>} {x.name} <span class="quiet">{x.title}</span>
                </label>
              );
            })}
          </div>
        </fieldset>
        <fieldset>
          <legend>Who may see it</legend>
          <div class="row wrap">
            {sensitivities.map((s) => (
              <label key={s.value} class={`chip ${sensitivity === s.value ? "on" : ""}`}>
                <input type="radio" name="sensitivity" required value={s.value} checked={sensitivity === s.value} onChange={() => setSensitivity(s.value)} />
                {s.title} <span class="quiet">{s.text}</span>
              </label>
            ))}
          </div>
          <p class="quiet">Private data never leaves this computer: <code>kith local</code> does the same work here.</p>
        </fieldset>
        <div class="row wrap">
          <label class="inline">Nodes that must agree <input name="k" type="number" min={1} max={9} value={k} onInput={(e) => setK(e.currentTarget.valueAsNumber || 1)} /></label>
          <span class="grow" />
          <button class="primary" disabled={send.busy || steps.length === 0}>{send.busy ? "Reading…" : "Submit"}</button>
        </div>
        {k === 1 && <p class="notice">One node alone is believed without being checked.</p>}
        <Trouble error={send.error} />
        {done && <p class="good" role="status">“{done.name}” is on its way.</p>}
      </form>
    </Card>
  );
}
