// Numbers and times as a person reads them.

export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  const units = ["kB", "MB", "GB", "TB", "PB"];
  let u = -1;
  do {
    n /= 1000;
    u++;
  } while (n >= 999.5 && u < units.length - 1);
  return `${n < 9.95 ? n.toFixed(1) : n.toFixed(0)} ${units[u]}`;
}

export const rate = (n: number): string => `${bytes(n)}/s`;

export function duration(millis: number): string {
  const s = Math.round(millis / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const time = (millis: number): string => new Date(millis).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

export const short = (id: string): string => id.slice(0, 10);

export const count = (n: number, one: string, many = one + "s"): string => `${n.toLocaleString()} ${n === 1 ? one : many}`;

export const percent = (x: number): string => `${Math.floor(x * 100)} %`;

/** A region, or words where the node does not know it ("ZZ" is the code for that). */
export const place = (region: string): string => (region === "" || region === "ZZ" ? "not known" : region);
