// Whether the disk keeps the drives' quotas, and why not where it does not.

import { Alert } from "antd";
import { useQuery } from "@tanstack/react-query";
import { driveQueries } from "../../api/driveQueries";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";

export function DriveHealthPanel() {
  const { text, format, language } = useWords();
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
            {health.reasons.map(({ message, told }) => (
              <div key={message} className="muted small">
                {sayTold(language, message, told)}
              </div>
            ))}
          </>
        }
      />
    </section>
  );
}
