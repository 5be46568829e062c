// A link for whoever has it, until it ends; the link itself is shown once.

import { Button, Form, InputNumber, Modal } from "antd";
import { useState } from "react";
import { nameOf } from "../../api/driveQueries";
import type { DriveNewShare } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { useAction } from "../useAction";
import { useDriveActions } from "./useDriveActions";

export function ShareDialog({ path, onClose }: { path: string; onClose: () => void }) {
  const { text, format } = useWords();
  const words = text.drive;
  const actions = useDriveActions();
  const { run, isBusy } = useAction();
  const [days, setDays] = useState(7);
  const [made, setMade] = useState<DriveNewShare | null>(null);
  const make = () => run(async () => setMade(await actions.share(path, days)));
  return (
    <Modal
      open
      title={words.shareTitle(nameOf(path))}
      onCancel={onClose}
      footer={
        made ? (
          <Button type="primary" onClick={onClose}>
            {text.close}
          </Button>
        ) : (
          <Button type="primary" loading={isBusy} onClick={() => void make()}>
            {words.shareMake}
          </Button>
        )
      }
    >
      <p className="muted">{words.shareText}</p>
      {made ? (
        <div>
          <div className="row">
            <code className="mono break" data-testid="share-link">
              {made.url}
            </code>
            <CopyButton text={made.url} />
          </div>
          <div className="muted small">
            {words.sharesCol.ends}: {format.time(made.expires_at)}
          </div>
        </div>
      ) : (
        <Form layout="vertical">
          <Form.Item label={words.shareDays} htmlFor="share-days">
            <InputNumber
              id="share-days"
              min={1}
              max={365}
              value={days}
              onChange={(value) => setDays(value ?? 7)}
            />
          </Form.Item>
        </Form>
      )}
    </Modal>
  );
}
