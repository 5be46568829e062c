// Whether the disk keeps the drives' quotas, and why not where it does not.

import { Alert } from "antd";
import { useQuery } from "@tanstack/react-query";
import { driveQueries } from "../../api/driveQueries";
import { useWords } from "../../i18n";

export function DriveHealthPanel() {
  const { text, format } = useWords();
  const { data: health } = useQuery(driveQueries.health());
  if (!health) return null;
  const words = text.drive.health;
  return (
    <section style={{ marginTop: 24 }}>
      <h2 className="section-title">{words.title}</h2>
      <Alert
        type={health.is_enforced ? "success" : "warning"}
        showIcon
        title={health.is_enforced ? words.enforced(health.backend) : words.notEnforced}
        description={
          <>
            {words.facts(format.bytes(health.default_quota_bytes), format.bytes(health.free_bytes))}
            {health.reason && <div className="muted small mono">{health.reason}</div>}
          </>
        }
      />
    </section>
  );
}
