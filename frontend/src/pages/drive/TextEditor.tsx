// A text file being written. What somebody else wrote meanwhile is never overwritten silently.

import { Alert, App, Button, Input } from "antd";
import { useState } from "react";
import { ApiError } from "../../api/client";
import type { DrivePreview } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayError } from "../../i18n/said";
import { besideName, useDriveActions } from "./useDriveActions";

interface Props {
  path: string;
  start: DrivePreview;
  onDone: () => void;
  onSavedAs: (path: string) => void;
}

export function TextEditor({ path, start, onDone, onSavedAs }: Props) {
  const { text } = useWords();
  const words = text.drive.preview;
  const { message } = App.useApp();
  const actions = useDriveActions();
  const [draft, setDraft] = useState(start.text);
  const [isChanged, setIsChanged] = useState(false);
  const [isBusy, setIsBusy] = useState(false);

  const save = async (to: string, etag: string | null) => {
    setIsBusy(true);
    try {
      await actions.writeText(to, draft, etag);
      void message.success(words.saved);
      onDone();
      if (to !== path) onSavedAs(to);
    } catch (error) {
      if (error instanceof ApiError && error.code === "file_changed") setIsChanged(true);
      else void message.error(sayError(text, error));
    } finally {
      setIsBusy(false);
    }
  };
  return (
    <div className="stack">
      {isChanged && (
        <Alert
          type="warning"
          showIcon
          title={words.changedTitle}
          description={words.changedText}
          action={
            <span className="stack">
              <Button size="small" onClick={() => void actions.refresh().then(onDone)}>
                {words.loadTheirs}
              </Button>
              <Button size="small" onClick={() => void save(besideName(path), null)}>
                {words.saveAs}
              </Button>
            </span>
          }
        />
      )}
      <Input.TextArea
        autoFocus
        className="mono"
        aria-label={words.editor}
        value={draft}
        autoSize={{ minRows: 12, maxRows: 30 }}
        spellCheck={false}
        onChange={(event) => setDraft(event.target.value)}
      />
      <div className="row">
        <Button type="primary" loading={isBusy} onClick={() => void save(path, start.etag)}>
          {text.save}
        </Button>
        <Button onClick={onDone}>{text.cancel}</Button>
      </div>
    </div>
  );
}
