# A small client in the ancestor's language, as its protocol asks for: to see that Ruby itself is content.
require 'json'
require 'socket'
require 'base64'

class Client
  def initialize(path)
    @sock = UNIXSocket.new(path)
    @lines = []
    @version = receive['version']
  end

  attr_reader :version

  def receive
    if @lines.empty?
      data = +''
      data << @sock.recv(1024) until data.end_with?("\n")
      @lines = data.split("\n")
    end
    JSON.parse(@lines.shift)
  end

  def call(cmd, opts = {})
    @sock.send("#{{ cmd: cmd, opts: opts }.to_json}\n", 0)
    answer = receive
    answer = receive while answer['status'] && answer.has_key?('progress')
    answer
  end

  def exec(cmd, input)
    raise 'no continue' unless call('ct_exec', cmd: cmd)['response'] == 'continue'
    in_r, in_w = IO.pipe
    out_r, out_w = IO.pipe
    err_r, err_w = IO.pipe
    [in_r, out_w, err_w].each { |io| @sock.send_io(io); io.close }
    in_w.write(input)
    in_w.close
    out = +''
    loop do
      ready, = IO.select([out_r, err_r, @sock])
      begin
        out << out_r.readpartial(4096) if ready.include?(out_r)
      rescue EOFError
        break
      end
      break if ready.include?(@sock) && !ready.include?(out_r)
    end
    [receive['response']['exitstatus'], out]
  end

  def console(typed)
    raise 'no continue' unless call('ct_console', id: 'ruby')['response'] == 'continue'
    @sock.send("#{{ keys: Base64.strict_encode64(typed), rows: 20, cols: 30 }.to_json}\n", 0)
    seen = +''
    seen << @sock.recv(4096) until seen.include?('=42=')
    @sock.close
    true
  end
end

c = Client.new(ARGV[0])
puts [c.version, c.call('ping')['response'], c.call('progress', n: 2)['response'],
      c.call('fail', message: 'no way')['message']].to_json
status, out = c.exec(['sh', '-c', 'head -c 1000000 /dev/zero; cat; exit 4'], 'end')
puts [status, out.bytesize, out[-3..]].to_json
puts [c.call('ping')['response'], c.console("echo =$((6*7))=\n")].to_json
