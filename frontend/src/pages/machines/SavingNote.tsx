// What goes on of saving a machine, and what came of the last time.

import { Alert } from "antd";
import { Link } from "react-router";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useNow } from "./useNow";

const TOLD_FOR_MS = 3_600_000;

export function SavingNote({ machine }: { machine: Machine }) {
  const { text, language } = useWords();
  const words = text.machines.saved;
  const now = useNow(60_000);
  const saving = machine.saving;
  if (!saving) return null;
  const since = <RelativeTime iso={saving.ended_at ?? saving.begun_at} />;
  if (saving.ended_at === null) {
    const title = saving.is_copy ? words.copying : words.saving(saving.image);
    return (
      <Alert
        type="info"
        showIcon
        title={title}
        description={
          <>
            {words.paused} {since}
          </>
        }
      />
    );
  }
  if (now - Date.parse(saving.ended_at) > TOLD_FOR_MS) return null;
  if (saving.problem) {
    const title = saving.is_copy ? words.copyFailed : words.failed(saving.image);
    return (
      <Alert
        type="error"
        showIcon
        title={title}
        description={
          <>
            {sayTold(language, saving.problem, saving.problem_told)} {since}
          </>
        }
      />
    );
  }
  if (saving.is_copy) return null;
  return (
    <Alert
      type="success"
      showIcon
      title={words.done(saving.image)}
      description={<Link to="/machines/new">{words.use}</Link>}
    />
  );
}
