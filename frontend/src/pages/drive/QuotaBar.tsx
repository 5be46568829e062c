// How full the drive is, in bytes and as a bar.

import { Progress } from "antd";
import { useQuery } from "@tanstack/react-query";
import { driveQueries } from "../../api/driveQueries";
import { useWords } from "../../i18n";

export function QuotaBar() {
  const { text, format } = useWords();
  const words = text.drive;
  const { data: use } = useQuery(driveQueries.use());
  if (!use) return null;
  const ratio = use.quota_bytes ? use.used_bytes / use.quota_bytes : 1;
  const said = words.usage(format.bytes(use.used_bytes), format.bytes(use.quota_bytes));
  return (
    <div className="drive-use" data-testid="quota">
      <Progress
        percent={Math.min(100, Math.round(ratio * 1000) / 10)}
        showInfo={false}
        size="small"
        status={ratio >= 0.95 ? "exception" : "normal"}
        aria-label={said}
      />
      <div className="muted small num">
        {said}
        {use.trash_bytes > 0 && ` · ${words.usageTrash(format.bytes(use.trash_bytes))}`}
      </div>
      {ratio >= 1 && <div role="alert">{words.full}</div>}
    </div>
  );
}
