// What a flavor's machines may write beside their homes, in words.

import { useWords } from "../../i18n";

interface Disks {
  disk_bytes: number | null;
  scratch_bytes: number | null;
}

export function useDisks() {
  const { text, format } = useWords();
  const words = text.machines.form;
  const size = (bytes: number | null) => (bytes === null ? words.noLimit : format.bytes(bytes));
  return (disks: Disks) => words.disks(size(disks.disk_bytes), size(disks.scratch_bytes));
}
