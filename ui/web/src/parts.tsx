// Small pieces several screens use.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Refused } from "./api";
import { short } from "./format";

export function Card(props: { title: string; id?: string; aside?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="card" id={props.id} aria-label={props.title}>
      <header>
        <h2>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

export function Bar(props: { value: number; label: string; state?: string }) {
  const value = Math.max(0, Math.min(1, props.value || 0));
  return (
    <div class={`bar ${props.state ?? ""}`} role="progressbar" aria-label={props.label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.floor(value * 100)}>
      <div style={{ width: `${value * 100}%` }} />
    </div>
  );
}

export function Id(props: { id: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(props.id);
    setCopied(true);
    setTimeout(() => setCopied(false), 1200);
  };
  return (
    <button type="button" class="id" title={`${props.id} (click to copy)`} onClick={copy}>
      {copied ? "copied" : short(props.id)}
    </button>
  );
}

export function Trouble(props: { error?: Refused }) {
  if (!props.error) return null;
  return (
    <p class="trouble" role="alert">
      {props.error.message} {props.error.remedy && <span class="remedy">{props.error.remedy}</span>}
    </p>
  );
}

/** Runs one call at a time and keeps its refusal for the page to show. */
export function useCall(): { busy: boolean; error?: Refused; run: (what: () => Promise<unknown>) => Promise<boolean> } {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Refused>();
  const run = async (what: () => Promise<unknown>) => {
    setBusy(true);
    setError(undefined);
    try {
      await what();
      return true;
    } catch (e) {
      setError(e instanceof Refused ? e : new Refused(String(e), "", 0));
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, run };
}

/** A question before something that cannot be taken back. */
export function Ask(props: { title: string; text: string; yes: string; onYes: () => void; onNo: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} onClose={props.onNo} aria-label={props.title}>
      <h2>{props.title}</h2>
      <p>{props.text}</p>
      <div class="row end">
        <button type="button" onClick={props.onNo}>Back</button>
        <button type="button" class="danger" autofocus onClick={props.onYes}>{props.yes}</button>
      </div>
    </dialog>
  );
}
